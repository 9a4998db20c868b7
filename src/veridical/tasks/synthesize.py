"""Synthesize whole heads: a label map with MR of any contrast, CT and PET of the same anatomy,
imagined or painted from a label map of yours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from veridical.errors import BudgetError, InputError, SettingError, nearest
from veridical.task import Progress, Takes, Task, silent
from veridical.types import Array, Finding, Geometry, Image, Measurement, Result, Study

if TYPE_CHECKING:
    from veridical.language.fact import Fact
    from veridical.phantoms.head_distance import NearestHead
    from veridical.phantoms.head_painting import Anatomy, Labels
    from veridical.phantoms.population import Pathology
    from veridical.phantoms.scanners import Site
    from veridical.tasks.from_genes import TumourGenes

USUAL = "T1w,T2w,FLAIR"
KNOWN = ("T1w", "T2w", "FLAIR", "PD", "T1c", "CT", "PET")
AGES = (18.0, 95.0)
SPACINGS = (0.5, 10.0)
FINE = 1.5
"""mm of voxels from which on each is the mean of 2 x 2 x 2 points."""
PATHOLOGIES = (("none", 0.4), ("ms", 0.35), ("tumour", 0.25))
"""What patients have where nothing is asked for, and how often."""
MARBLE = (-0.6, 1.6)
"""Levels of noise above which muscle is fat: lean and fat patients."""
ENHANCES = 0.6
"""Share of tumours with a necrotic core and a rim that enhances."""
MASS, REACH = (0.15, 0.4), (1.6, 12.0)
"""Displacement by a tumour as a share of its radius; where it is greatest: so many radii and mm
from its centre.
"""
TRIES = 5
"""Heads that are drawn until one is no nearer to a training head than real heads are to one
another.
"""
MEMORY = 8 * 2**30
EACH = 120
"""Bytes for each voxel."""
NOTHING = Study("", {})


@dataclass(frozen=True)
class Patient:
    """Who is imaged; `sex` and `age` are not known where the anatomy was given, `genes` where
    nothing was said of them.
    """

    age: float | None
    sex: Literal["female", "male"] | None
    pathology: Pathology
    enhances: bool
    genes: TumourGenes | None = None

    @property
    def forward(self) -> bool:
        """Whether genes put the tumour before the middle of the brain."""
        return self.genes is not None and self.genes.forward


@dataclass(frozen=True)
class Synthesize(Task):
    """Imagine whole heads: a label map, MR of any contrast, CT and PET, all of one anatomy. Nothing
    is measured, so evidence is 0 everywhere.

    The anatomy is drawn from shapes learned of 13 real heads, or is a label map of yours; images
    follow from the signal equations over published tissue values, with sequence, shading and noise
    of a site. What is left open is drawn.
    """

    takes: ClassVar[Takes] = "nothing"

    contrasts: str = USUAL
    """Images to make, separated by commas: T1w, T2w, FLAIR, PD, T1c, CT (HU), PET (FDG, SUV). Left
    as it is, it yields to contrasts that a text names.
    """
    text: str = ""
    """Findings in the words of a report: left frontal 2 cm enhancing tumour with oedema, T1c. What
    it leaves open is drawn; it goes into the provenance, so name no patient.
    """
    spacing: float = 0.0
    """Voxel size, mm. 0: 1 mm, or the grid of the label map that was given."""
    age: float = 0.0
    """Years, 18 to 95; ventricles and sulci widen with age. 0 draws one."""
    sex: Literal["any", "female", "male"] = "any"
    """Men's heads are larger."""
    pathology: Literal["any", "none", "ms", "tumour"] = "any"
    """ms: lesions in white matter, most of them beside the ventricles; tumour: core, rim and
    oedema, which push the brain aside. any: drawn; to a label map that was given none is added.
    """
    genes: str = ""
    """Genes of a tumour: IDH1=mutated,ATRX=wild-type. With it or a grade, all that is not stated
    (genes, grade, age, sex) is drawn from 839 patients alike; IDH may move the tumour forward.
    """
    grade: int = 0
    """WHO grade of a tumour, 2 to 4: how often it enhances. 0: not stated."""
    lesion_load: float = 0.0
    """Volume of the lesions, ml, oedema included; 0 leaves it to chance."""
    site: str = ""
    """Scanner with its habits: avon, brent, clyde, derwent or exe; empty: any clinical protocol."""
    field: float = 0.0
    """Field strength, tesla, 0.2 to 7; 0: that of the site."""
    slices: Literal["3d", "site"] = "3d"
    """3d: MR slices as thick as the voxels; site: as thick as the site's, on the same grid."""
    numbering: Literal["freesurfer", "veridical"] = "freesurfer"
    """Numbers of a label map that is given: FreeSurfer's (and SynthSeg's from 500 on), or those
    that Veridical writes.
    """
    number: int = 1
    """Which patient: each number of a seed is another one."""

    def __post_init__(self) -> None:
        for name in self.wanted:
            if name not in KNOWN:
                raise SettingError(
                    f"contrasts = {self.contrasts!r} names {name!r}. {nearest(name, KNOWN)}"
                )
        choices = {
            "sex": ("any", "female", "male"),
            "pathology": ("any", "none", "ms", "tumour"),
            "slices": ("3d", "site"),
            "numbering": ("freesurfer", "veridical"),
        }
        for setting, known in choices.items():
            value = getattr(self, setting)
            if value not in known:
                raise SettingError(f"{setting} = {value!r}. {nearest(str(value), known)}")
        ranges = {
            "spacing": (self.spacing == 0 or SPACINGS[0] <= self.spacing <= SPACINGS[1]),
            "age": (self.age == 0 or AGES[0] <= self.age <= AGES[1]),
            "field": (self.field == 0 or 0.2 <= self.field <= 7),
            "lesion_load": self.lesion_load >= 0,
            "number": self.number >= 1,
        }
        wrong = [name for name, right in ranges.items() if not right]
        if wrong or not self.wanted or len(set(self.wanted)) < len(self.wanted):
            raise SettingError(
                f"{wrong[0]} = {getattr(self, wrong[0]):g}; expected a spacing of {SPACINGS[0]:g} "
                f"to {SPACINGS[1]:g} mm, an age of {AGES[0]:g} to {AGES[1]:g} years, a field of "
                "0.2 to 7 T (0: not asked for), a lesion load of 0 or more, a number from 1 on."
                if wrong
                else f"contrasts = {self.contrasts!r}; expected one or more, each once."
            )
        if self.text and (self.lesion_load or self.pathology != "any"):
            wish = "lesion_load" if self.lesion_load else "pathology"
            raise SettingError(
                f"text = {self.text!r} says what the patient has, and so does {wish} = "
                f"{getattr(self, wish)}. Leave one of them out."
            )
        if self.genes or self.grade:
            self._check_genes()
        if self.lesion_load and self.pathology == "none":
            raise SettingError(
                f"lesion_load = {self.lesion_load:g} and pathology = none exclude one another. "
                "Leave one of them out, or ask for pathology ms or tumour."
            )

    def _check_genes(self) -> None:
        """Refuse genes or a grade that are not known, or of a patient who has no tumour.

        Raises:
            SettingError: of these.
        """
        from veridical.tasks.from_genes import checked

        if self.grade not in (0, 2, 3, 4):
            raise SettingError(f"grade = {self.grade}; expected 2, 3 or 4 (0: not stated).")
        kind = self.pathology
        if self.text:
            from veridical.tasks.from_text import pathology_of

            kind = pathology_of(self._facts())
        if kind not in ("any", "tumour"):
            said = f"text = {self.text!r}" if self.text else f"pathology = {kind}"
            raise SettingError(
                f"genes and grade are those of a tumour, and {said} asks for none. Leave them out, "
                "or ask for pathology tumour."
            )
        checked(self.genes, self._stated)

    @property
    def _stated(self) -> dict[str, str | float]:
        """What was said of the patient beside the genes."""
        said: dict[str, str | float] = {}
        if self.grade:
            said["grade"] = str(self.grade)
        if self.age:
            said["age"] = self.age
        if self.sex != "any":
            said["sex"] = self.sex
        return said

    @property
    def wanted(self) -> tuple[str, ...]:
        """The contrasts to make."""
        if self.text and self.contrasts == USUAL:
            from veridical.tasks.from_text import asked

            if named := asked(self.text).contrasts:
                return named
        return tuple(name.strip() for name in self.contrasts.split(",") if name.strip())

    def __call__(
        self,
        subject: Study | Image | Measurement | None = None,
        seed: int = 0,
        progress: Progress = silent,
    ) -> Result:
        """Make one patient; arguments as `Task`, but nothing has to be given.

        Args:
            subject: a label map (units `label`) to paint; None imagines the anatomy too.
            seed: same seed and number: same bytes.
            progress: called as work goes on.
        """
        return super().__call__(NOTHING if subject is None else subject, seed, progress)

    def apply(self, study: Study, seed: int, progress: Progress) -> Result:
        from veridical.phantoms import head_distance, head_scan
        from veridical.tasks.from_genes import with_genes

        given = _label_map(study)
        patient = self._patient(seed, given is not None)
        site = head_scan.site_of(self.site, self.field, self._rng(seed, 1))
        progress("synthesizing: anatomy", 0, len(self.wanted) + 1)
        facts = self._facts()
        if patient.genes is not None:
            facts = with_genes(facts, patient.forward, patient.enhances)
        if given is None:
            plain, diseased, near, fine = self._imagined(patient, facts, seed)
        else:
            plain, diseased, fine = self._painted(given, patient, facts, seed)
            near = head_distance.nearest_head(head_distance.at_4mm(plain.labels, plain.placed))
        head, labels = diseased.painted(
            fine, patient.pathology, site, self._rng(seed, 2), (seed, self.number)
        )
        scans = []
        for index, name in enumerate(self.wanted):
            progress(f"synthesizing: {name}", index + 1, len(self.wanted) + 1)
            rng = self._rng(seed, 10 + KNOWN.index(name))
            scans.append(head_scan.scan(head, labels, name, rng, fine == 1, self.slices))
        progress("synthesizing: done", len(self.wanted) + 1, len(self.wanted) + 1)
        about = self._about(patient, site, diseased, given is not None)
        return replace(
            self._result(head.geometry, scans, labels, about, near),
            findings=self._said(patient.genes),
        )

    def model_and_weights(self) -> tuple[str, str]:
        from veridical.phantoms.head_shapes import fingerprint

        return "head-shapes", fingerprint()

    def _facts(self) -> tuple[Fact, ...]:
        """Return what the text says."""
        from veridical.tasks.from_text import asked

        return asked(self.text).facts if self.text else ()

    def _rng(self, seed: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((seed, self.number, purpose))

    def _patient(self, seed: int, given: bool) -> Patient:
        """Draw all, then put in what was asked for, so that one wish does not change the rest."""
        rng = self._rng(seed, 0)
        age, female, chance = rng.uniform(20.0, 85.0), rng.random() < 0.5, rng.random()
        level = rng.random()
        enhances = bool(level < ENHANCES)
        shares = np.cumsum([share for _, share in PATHOLOGIES])
        drawn: Any = PATHOLOGIES[int(np.searchsorted(shares, chance))][0]
        if self.lesion_load and drawn == "none":
            drawn = "ms"
        if given:
            self._check_given()
            drawn = "ms" if self.lesion_load else "none"
        if self.text:
            from veridical.tasks.from_text import pathology_of

            drawn = pathology_of(self._facts())
        kind: Any = drawn if self.pathology == "any" else self.pathology
        genes = self._genes(seed)
        if genes is not None:
            kind, enhances = "tumour", bool(level < genes.enhancing)
        if given:
            return Patient(None, None, kind, enhances, genes)
        sex: Any = ("female" if female else "male") if self.sex == "any" else self.sex
        if genes is not None:
            age, sex = float(genes.values["age"]), genes.values["sex"]
        return Patient(round(self.age or float(age), 1), sex, kind, enhances, genes)

    def _genes(self, seed: int) -> TumourGenes | None:
        """Return genes and clinical variables of the patient; None where nothing is said of them.
        They are drawn apart from all else.
        """
        from veridical.tasks.from_genes import tumour_genes

        if not (self.genes or self.grade):
            return None
        return tumour_genes(self.genes, self._stated, self._rng(seed, 6))

    def _check_given(self) -> None:
        if any(fact.kind == "atrophy" for fact in self._facts()):
            raise SettingError(
                f"text = {self.text!r} is about atrophy, which the label map gives. Leave it out."
            )
        said = {"age": self.age, "sex": self.sex != "any", "spacing": self.spacing}
        for name, value in said.items():
            if value:
                raise SettingError(
                    f"{name} = {getattr(self, name)} is about the anatomy, which the label map "
                    f"gives with its grid. Leave --{name} out, or the label map."
                )

    def _imagined(
        self, patient: Patient, facts: tuple[Fact, ...], seed: int
    ) -> tuple[Anatomy, Anatomy, NearestHead, int]:
        """Return a new head without and with lesions, what is nearest to it, and how fine its map
        is. One that is nearer to a training head than real heads are to one another is drawn again.
        """
        from veridical.phantoms import (
            described_lesions,
            head_distance,
            head_painting,
            head_shapes,
            lesion_load,
        )
        from veridical.tasks.from_text import deviation_of

        spacing = self.spacing or 1.0
        fine = 2 if spacing >= FINE else 1
        shape = tuple(int(n) for n in np.round((head_shapes.HIGH - head_shapes.LOW) / spacing))
        _within(shape)
        step, count = spacing / fine, (shape[0] * fine, shape[1] * fine, shape[2] * fine)
        affine = np.diag([step, step, step, 1.0])
        affine[:3, 3] = head_shapes.LOW + step / 2
        rng, wide = self._rng(seed, 3), deviation_of(facts, self._rng(seed, 5))
        for _ in range(TRIES):
            head = head_shapes.new_head(rng, patient.age or 0.0, patient.sex or "female", wide)
            cut = head.structures(
                head_distance.CORNER, head_shapes.COARSE, head_distance.SHAPE, upright=True
            )
            near = head_distance.nearest_head(cut)
            if near.distance >= near.least:
                break
        level = float(rng.uniform(*MARBLE))
        cut = head.structures(affine[:3, 3], step, count)
        plain = head_painting.anatomy(cut, Geometry(count, affine), rng).marbled(level)
        rng = self._rng(seed, 4)
        if facts:
            plan = described_lesions.planned(plain, facts, rng)
            return plain, described_lesions.drawn(plain, plan), near, fine
        load, enhances = self.lesion_load, patient.enhances
        rows = lesion_load.lesions(
            plain, patient.pathology, load, enhances, rng, forward=patient.forward
        )
        if patient.pathology == "tumour":
            middle, radius = rows[0, 1:4] + plain.centre, float(rows[0, 13])
            head = head.grown(middle, rng.uniform(*MASS) * radius, REACH[0] * radius + REACH[1])
            cut = head.structures(affine[:3, 3], step, count)
            plain = replace(plain, labels=cut).marbled(level)
            rows = lesion_load.sized(plain, rows, load, enhances) if load else rows
        return plain, plain.with_lesions(rows, enhances), near, fine

    def _painted(
        self, given: Image, patient: Patient, facts: tuple[Fact, ...], seed: int
    ) -> tuple[Anatomy, Anatomy, int]:
        """Return the label map that was given, without and with lesions that were asked for."""
        from veridical.phantoms import described_lesions, head_labels, head_painting, lesion_load

        _within(given.geometry.shape)
        labels = head_labels.from_numbers(given.data[0], self.numbering)
        plain = head_painting.anatomy(labels, given.geometry, self._rng(seed, 3))
        rng = self._rng(seed, 4)
        if facts:
            plan = described_lesions.planned(plain, facts, rng)
            return plain, described_lesions.drawn(plain, plan), 1
        rows = lesion_load.lesions(
            plain, patient.pathology, self.lesion_load, patient.enhances, rng,
            forward=patient.forward,
        )  # fmt: skip
        return plain, plain.with_lesions(rows, patient.enhances), 1

    def _about(
        self, patient: Patient, site: Site, diseased: Anatomy, given: bool
    ) -> dict[str, Any]:
        """Return what is known of the patient, for tables and sidecars."""
        from veridical.phantoms.head_labels import LESIONS
        from veridical.phantoms.label_maps import structure

        def volume(labels: Array) -> float:
            return round(float(np.isin(diseased.labels, labels).sum()) * diseased.voxel, 3)

        known = {} if patient.genes is None else {"genes": patient.genes.about()}
        return {
            **known,
            "anatomy": "label map given" if given else "imagined",
            "age": patient.age,
            "sex": patient.sex,
            "pathology": ", ".join(sorted({f.kind for f in self._facts() if f.present}))
            or patient.pathology,
            "lesions_ml": volume(np.array(LESIONS)),
            "lateral_ventricles_ml": volume(np.array([structure("lateral ventricle")])),
            "site": site.name,
            "field": site.field,
        }

    def _result(
        self, grid: Geometry, scans: list[Any], labels: Labels, about: dict[str, Any], near: Any
    ) -> Result:
        units = {name: scan.units for name, scan in zip(self.wanted, scans, strict=True)}
        data = np.stack([scan.data for scan in scans])
        header = {"synthetic": about, "units": units}
        kind = "mixed" if len(set(units.values())) > 1 else scans[0].units
        absent = {
            "draws": "One patient is one draw; other seeds and numbers give others.",
            "interval": "Nothing was measured: an interval would be that of all patients.",
            "evidence": "Nothing was measured: evidence is 0 in every voxel; no map is made of it.",
        }
        segmented = Result(
            Image(labels[None], grid, "label", ("structures",), {"synthetic": about}),
            "one draw",
            absent=absent,
        )
        facts = {
            "measured": (),
            "nearest_head": {
                "name": near.name,
                "distance": near.distance,
                "least": near.least,
                "nearest_mean": near.nearest[0],
                "nearest_least": near.nearest[1],
                "usual": near.usual,
            },
            "scans": {name: scan.settings for name, scan in zip(self.wanted, scans, strict=True)},
        }
        return Result(
            Image(data, grid, kind, self.wanted, header),
            "one draw",
            absent=absent,
            facts=facts,
            also={"labels": segmented},
        )

    def _said(self, genes: TumourGenes | None) -> tuple[Finding, ...]:
        """Return what was understood of the text, and what came of the genes."""
        from veridical.tasks.from_genes import genes_finding
        from veridical.tasks.from_text import asked, text_finding

        text = (text_finding(asked(self.text)),) if self.text else ()
        return text if genes is None else (*text, genes_finding(genes))


def _label_map(study: Study) -> Image | None:
    """Return the label map of a study; None where it holds nothing.

    Raises:
        InputError: it holds something else, or several images.
    """
    visit = study.visit() if study.visits else {}
    if not visit:
        return None
    first = next(iter(visit.values()))
    if len(visit) > 1 or not isinstance(first, Image) or first.units != "label":
        held = ", ".join(
            f"{name} ({one.units if isinstance(one, Image) else 'raw data'})"
            for name, one in visit.items()
        )
        raise InputError(
            f"synthesize takes nothing, or one label map in units 'label'; got {held}. Read it "
            "with units='label' (--mask on the command line)."
        )
    return first


def _within(shape: tuple[int, ...]) -> None:
    """Refuse a grid that takes more memory than there may be."""
    need = int(np.prod([int(n) for n in shape])) * EACH
    if need > MEMORY:
        raise BudgetError(
            f"A grid of {' x '.join(map(str, shape))} voxels takes {need / 2**30:.0f} GiB of "
            f"memory; up to {MEMORY / 2**30:.0f} GiB are used. Ask for larger voxels: --spacing 1, "
            "or resample the label map."
        )
