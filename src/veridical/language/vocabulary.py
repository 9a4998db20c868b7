"""Words of radiology reports: which say a kind, a side, a lobe, a size; which deny and which doubt.

Negation follows NegEx (Chapman et al., J Biomed Inform 2001, 10.1006/jbin.2001.1029): phrases
before and after a finding, phrases that look like negation and are none, and words that end its
reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

KINDS: Mapping[str, tuple[str, ...]] = {
    "tumour": (
        "tumour", "tumours", "tumor", "tumors", "mass", "masses", "mass lesion", "neoplasm",
        "neoplastic lesion",
        "glioma", "high-grade glioma", "low-grade glioma", "glioblastoma", "astrocytoma",
        "oligodendroglioma", "gbm", "space-occupying lesion", "enhancing lesion", "enhancing focus",
        "enhancing nodule", "expansile lesion", "non-enhancing lesion", "nonenhancing lesion",
        "intra-axial lesion", "metastasis", "metastases", "malignancy",
    ),
    "oedema": (
        "oedema", "edema", "vasogenic oedema", "vasogenic edema", "perilesional oedema",
        "peritumoral edema", "peritumoural oedema", "perifocal oedema", "flair hyperintense rim",
        "surrounding flair hyperintensity", "surrounding t2 hyperintensity", "swelling",
    ),
    "white matter lesions": (
        "white matter lesions", "white matter lesion", "ms lesions", "ms lesion",
        "demyelinating lesions", "demyelinating lesion",
        "demyelinating plaques", "demyelinating plaque", "plaques of demyelination", "ms plaques",
        "white matter hyperintensities", "t2 hyperintense foci", "flair hyperintense foci",
        "foci of t2 hyperintensity", "foci of white matter signal change", "demyelination",
        "periventricular lesions", "periventricular lesion", "t2 lesions", "t2 lesion",
        "multiple sclerosis lesions",
        "multiple sclerosis plaques", "dawson fingers", "lesions typical of multiple sclerosis",
    ),
    "infarct": (
        "infarct", "infarcts", "infarction", "old infarct", "chronic infarct", "lacune",
        "lacunar infarct",
        "encephalomalacia", "post-ischaemic cavity", "post-ischemic cavity", "cystic cavity",
        "old ischaemic lesion", "old ischemic lesion", "ischaemic defect", "ischemic defect",
    ),
    "atrophy": (
        "atrophy", "brain atrophy", "cerebral atrophy", "volume loss", "brain volume loss",
        "cerebral volume loss", "parenchymal loss", "enlarged ventricles",
        "ventricular enlargement",
        "ventriculomegaly", "widened ventricles", "ventricular dilatation",
        "enlargement of the lateral ventricles", "dilated lateral ventricles",
    ),
}  # fmt: skip
SATELLITES = ("oedema",)
"""Kinds that belong to another finding of the same sentence and take its place."""
UNKNOWN = (
    "haemorrhage", "hemorrhage", "microbleed", "microbleeds", "haematoma", "hematoma", "aneurysm",
    "abscess",
    "meningioma", "schwannoma", "cyst", "fracture", "hydrocephalus", "herniation", "midline shift",
    "thrombosis", "stenosis", "calcification", "restricted diffusion", "diffusion restriction",
    "leptomeningeal enhancement", "hippocampal sclerosis", "empyema", "mass effect", "invasion",
    "subdural collection", "epidural collection", "sinusitis", "cavernoma", "malformation",
    "stroke",
    "acute ischaemia", "acute ischemia", "encephalitis", "developmental venous anomaly",
)  # fmt: skip
"""Findings that are understood and that nothing here paints or measures."""
SIDES: Mapping[str, tuple[str, ...]] = {
    "left": ("left", "left-sided", "left-hemispheric", "lt", "on the left", "left hemisphere"),
    "right": ("right", "right-sided", "right-hemispheric", "rt", "on the right",
    "right hemisphere"),
    "both": ("bilateral", "bilaterally", "both", "both hemispheres", "on both sides",
    "in either hemisphere"),
    "midline": ("midline", "in the midline"),
}  # fmt: skip
LOBES: Mapping[str, tuple[str, ...]] = {
    "frontal": ("frontal", "frontal lobe", "frontal lobes", "prefrontal", "frontal pole",
    "frontally"),
    "parietal": ("parietal", "parietal lobe", "parietal lobes", "parietally"),
    "temporal": ("temporal", "temporal lobe", "temporal lobes", "temporal pole", "temporally"),
    "occipital": ("occipital", "occipital lobe", "occipital lobes", "occipital pole",
    "occipitally"),
    "deep": (
        "deep", "basal ganglia", "thalamus", "thalamic", "putamen", "caudate", "lentiform nucleus",
        "internal capsule", "corpus callosum", "callosal", "deep grey matter", "deep gray matter",
    ),
    "cerebellum": ("cerebellum", "cerebellar", "cerebellar hemisphere", "posterior fossa"),
    "brain stem": ("brain stem", "brainstem", "pons", "pontine", "midbrain", "medulla"),
}  # fmt: skip
SIZE_CLASSES: Mapping[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "subcentimetre", "subcentimeter", "little"),
    "medium": ("medium-sized", "moderately sized", "medium", "of moderate size"),
    "large": ("large", "sizeable", "bulky", "sizable", "big", "giant"),
}
ENHANCES: Mapping[str, tuple[str, ...]] = {
    "yes": (
        "enhancing", "contrast-enhancing", "ring-enhancing", "rim-enhancing", "enhances",
        "avid enhancement",
        "enhancement", "contrast uptake", "takes up contrast", "with enhancement",
        "contrast enhancement",
        "gadolinium enhancement", "rim enhancement", "ring enhancement", "avidly enhancing",
    ),
    "no": (
        "non-enhancing", "nonenhancing", "not enhancing", "without enhancement", "no enhancement",
        "does not enhance", "do not enhance", "without contrast uptake", "no contrast uptake",
        "without contrast enhancement", "no contrast enhancement", "unenhancing",
        "fails to enhance",
        "does not take up contrast", "no abnormal enhancement",
    ),
}  # fmt: skip
COUNTS: Mapping[str, tuple[str, ...]] = {
    "one": ("single", "solitary", "one", "a single", "isolated"),
    "few": ("few", "a few", "several", "a couple of", "some", "a handful of"),
    "many": ("multiple", "numerous", "many", "innumerable", "extensive", "multifocal",
    "disseminated"),
}  # fmt: skip
NUMBERS = {
    word: number
    for number, word in enumerate(
        [
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
        ],
        2,
    )
}
CONTRASTS: Mapping[str, tuple[str, ...]] = {
    "T1c": (
        "t1c", "t1-weighted post-contrast", "post-contrast t1", "postcontrast t1",
        "t1 post-contrast",
        "t1 with contrast", "contrast-enhanced t1", "t1 with gadolinium", "t1ce", "t1gd",
        "post-contrast images",
    ),
    "T1w": ("t1w", "t1-weighted", "t1", "pre-contrast t1", "t1 weighted"),
    "T2w": ("t2w", "t2-weighted", "t2", "t2 weighted"),
    "FLAIR": ("flair", "t2 flair", "t2-flair"),
    "PD": ("pd", "proton density"),
    "CT": ("ct", "computed tomography"),
    "PET": ("pet", "fdg-pet"),
}  # fmt: skip
BEFORE = (
    "no evidence of", "no sign of", "no signs of", "without evidence of", "no indication of",
    "absence of", "negative for", "free of", "no suspicion of", "rules out", "no definite",
    "no convincing", "no new", "no residual", "no further", "no other", "neither", "nor",
    "without", "no", "not", "never",
    "fails to show", "does not show", "do not show", "cannot see", "resolution of", "lack of",
    "denies", "excludes",
)  # fmt: skip
"""Deny what follows."""
AFTER = (
    "is absent", "are absent", "absent", "is not seen", "are not seen", "not seen",
    "is not present",
    "not present", "not identified", "not demonstrated", "not evident", "not visible",
    "not detected",
    "has resolved", "have resolved", "ruled out", "is excluded", "are excluded",
    "has been excluded",
    "can be excluded", "not found", "no longer seen", "no longer visible", "not apparent",
)  # fmt: skip
"""Deny what stands before them."""
PSEUDO = (
    "no increase", "no change", "no significant change", "no interval change", "not only",
    "not necessarily", "not cause", "no significant interval change", "unchanged", "without change",
    "cannot be excluded", "can not be excluded", "cannot be ruled out", "not excluded",
    "not ruled out",
)  # fmt: skip
"""Look like negation and are none."""
ENDS = (
    "but", "however", "although", "though", "except", "apart from", "aside from", "other than",
    "which", "yet", "whereas",
    "while", "still", "nevertheless", "despite", "because", "around", "then", "there is",
    "there are",
)  # fmt: skip
"""End the reach of a negation."""
DOUBTS = (
    "possible", "possibly", "probable", "probably", "may", "might", "could", "suspicious for",
    "suspected", "suspicion of", "suggestive of", "suggesting", "suggests", "questionable",
    "equivocal",
    "likely", "cannot be excluded", "can not be excluded", "cannot be ruled out", "not excluded",
    "not ruled out", "concern for", "concerning for", "presumed", "presumably", "query",
    "uncertain", "indeterminate", "?",
)  # fmt: skip
_SMALL = """
a an the of in on at to with and or is are was were be been there here this that these those it
its as by for from into within about around measuring measures measure size sized diameter
maximal maximum longest up approximately approx ca seen shown shows show showing noted note
identified demonstrates demonstrate demonstrated visible present evident found depicted images
image imaging mri mr scan study brain head cerebral hemisphere hemispheres lobe lobes region
area axial plane axis lesion lesions finding findings impression conclusion technique comparison
history exam examination patient surrounding associated accompanied accompanying perilesional
peritumoral peritumoural adjacent along signal white matter centred centered located lies lying
situated arising involving occupying consistent compatible representing represents represent
which has have had also further otherwise across new old chronic known both side sides where
total number numbering some mild moderate marked severe slight diffuse generalised generalized
global focal sequence sequences weighted post contrast after administration agent gadolinium
hyperintense hypointense hyperintensity hypointensity periventricular subcortical cortical
supratentorial ring rim avid intense abnormality abnormalities evidence can only we see i do
does not no none unremarkable normal limits under upper lower each other than level tissue
subtle count counted cavity cystic character appearance least most all any he she year male
female man woman aged age years following harbours harbors contains containing clinical
information indication suggestive beside next near
"""
FILLERS = frozenset(_SMALL.split())
"""Words that say nothing by themselves, or nothing that a fact holds."""


def pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Return what finds the longest of some phrases, as whole words; a hyphen may be a space."""
    return _compiled(tuple(phrases))


@cache
def _compiled(phrases: tuple[str, ...]) -> re.Pattern[str]:
    ordered = sorted(phrases, key=len, reverse=True)
    parts = (re.escape(one).replace(r"\-", "[- ]").replace(r"\ ", r"[\s-]+") for one in ordered)
    return re.compile(r"(?<![\w-])(?:" + "|".join(parts) + r")(?![\w])")


def table(words: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return phrase -> the value that it says."""
    return {phrase: value for value, phrases in words.items() for phrase in phrases}
