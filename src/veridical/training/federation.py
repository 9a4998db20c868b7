"""A federation: which sites train the model of a recipe together while their images stay with them.

One strict TOML file with the tables `[federation]`, `[sites.NAME]`, and where wanted `[privacy]`
and `[defence]`. Each site may have its own copy, in which only its own folder is named.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from veridical import registry
from veridical.errors import FormatError, InputError, SettingError, nearest
from veridical.settings import from_table
from veridical.training.recipe import Recipe

STRATEGIES = ("fedavg", "fedprox")
TABLES = ("federation", "sites", "privacy", "defence")
FEWEST_MASKED = 3
"""Sites below which a masked sum hides nobody: of two, each subtracts its own."""


@dataclass(frozen=True)
class Rounds:
    """The `[federation]` table."""

    recipe: str = ""
    """Path of the recipe, from the folder of this file, or the name of a shipped one."""
    rounds: int = 20
    """How often weights are averaged."""
    local_steps: int = 25
    """Optimizer steps of each site in a round."""
    strategy: str = "fedavg"
    """fedavg (McMahan et al. 2017, arXiv 1602.05629), or fedprox, which holds sites near the shared
    weights (Li et al. 2020, arXiv 1812.06127).
    """
    proximal: float = 0.01
    """Weight mu of the pull of fedprox."""
    fewest: int = 2
    """Sites without which a round is no round: training stops there, and can be resumed."""
    timeout: float = 3600.0
    """Seconds in which a site must answer."""
    secure_aggregation: bool = False
    """Mask updates so that the server learns their sum only (SecAgg+, arXiv 2009.05354)."""

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise SettingError(
                f"strategy = {self.strategy!r} is none. {nearest(self.strategy, STRATEGIES)}"
            )
        if min(self.rounds, self.local_steps, self.fewest) < 1 or self.timeout <= 0:
            raise SettingError(
                f"rounds = {self.rounds}, local_steps = {self.local_steps}, fewest = "
                f"{self.fewest}, timeout = {self.timeout}; expected at least 1 of each, and a time."
            )
        if self.proximal < 0:
            raise SettingError(f"proximal = {self.proximal}; expected 0 or more.")


@dataclass(frozen=True)
class SitePlan:
    """A `[sites.NAME]` table."""

    folder: str = ""
    """Folder of images of any known layout, from the folder of this file."""
    sources: Mapping[str, float] = field(default_factory=dict)
    """Public sets in place of a folder, and their weights, as in a recipe."""
    held_out: tuple[str, ...] = ()
    """Patients, or beginnings of their names, that only judge the weights."""


@dataclass(frozen=True)
class Privacy:
    """The `[privacy]` table: differential privacy of patients."""

    epsilon: float = 0.0
    """What may be learned of any one patient, as a bound; 0: no privacy beyond that images stay."""
    delta: float = 1e-4
    """How likely the bound may fail; less than one over the number of patients."""
    clip: float = 0.3
    """Longest gradient that one patient may have."""
    patients: int = 16
    """Patients that a step is expected to draw; each is drawn independently."""
    accountant: str = "rdp"
    """rdp or prv of Opacus, which turn noise and steps into epsilon."""
    seeded: bool = False
    """Draw noise from the seed, so that a simulation can be repeated. Who knows the seed can take
    the noise away: never for real patients.
    """

    def __post_init__(self) -> None:
        if self.epsilon < 0 or not 0 < self.delta < 1 or self.clip <= 0 or self.patients < 1:
            raise SettingError(
                f"epsilon = {self.epsilon}, delta = {self.delta}, clip = {self.clip}, patients = "
                f"{self.patients}; expected 0 or more, between 0 and 1, more than 0, at least 1."
            )
        if self.accountant not in ("rdp", "prv"):
            raise SettingError(
                f"accountant = {self.accountant!r}. {nearest(self.accountant, ('rdp', 'prv'))}"
            )


@dataclass(frozen=True)
class Defence:
    """The `[defence]` table: which updates are left out."""

    screen: bool = True
    """Compare every update with those of the others; garbage is always left out."""
    longest: float = 3.0
    """An update may be so many times as long as the median of the others."""
    least_cosine: float = -0.05
    """Least cosine between an update and the median of the others."""
    strikes: int = 3
    """Rounds in a row without a usable answer after which a site is not asked again."""

    def __post_init__(self) -> None:
        if self.longest < 1 or not -1 <= self.least_cosine <= 1 or self.strikes < 1:
            raise SettingError(
                f"longest = {self.longest}, least_cosine = {self.least_cosine}, strikes = "
                f"{self.strikes}; expected 1 or more, between -1 and 1, 1 or more."
            )


@dataclass(frozen=True)
class Federation:
    """A whole federation.

    Args:
        name: of the file.
        recipe: what is trained; `data` and `training.steps` are those of a site in `of_site`.
        settings, privacy, defence: the tables.
        sites: name -> its table.
    """

    name: str
    recipe: Recipe
    settings: Rounds
    sites: Mapping[str, SitePlan]
    privacy: Privacy = Privacy()
    defence: Defence = Defence()

    @classmethod
    def read(cls, path: str | Path) -> Federation:
        """Read a federation.

        Raises:
            FormatError: the file cannot be read.
            SettingError: a table, key or value is wrong, or the tables do not go together.
        """
        file = Path(path)
        try:
            tables = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise FormatError(f"The federation {path} cannot be read: {error}.") from error
        for key in tables:
            if key not in TABLES:
                raise SettingError(f"The federation has no table {key!r}. {nearest(key, TABLES)}")
        settings = from_table(
            "The federation's [federation] table", Rounds, tables.get("federation", {})
        )
        sites = {
            name: _site(name, table, file.parent) for name, table in tables.get("sites", {}).items()
        }
        if not settings.recipe:
            raise SettingError('The [federation] table needs a recipe: recipe = "denoiser.toml".')
        beside = file.parent / settings.recipe
        recipe = Recipe.read(beside if beside.is_file() else settings.recipe)
        privacy = from_table("[privacy]", Privacy, tables.get("privacy", {}))
        defence = from_table("[defence]", Defence, tables.get("defence", {}))
        found = cls(file.stem, recipe, settings, sites, privacy, defence)
        found.check()
        return found

    def check(self) -> None:
        """Make sure that the tables go together.

        Raises:
            SettingError: they do not.
        """
        settings, learns = self.settings, registry.get("model", self.recipe.model).learns
        if len(self.sites) < max(2, settings.fewest):
            raise SettingError(
                f"{len(self.sites)} sites are named; expected {max(2, settings.fewest)} or more, "
                "each in a table [sites.NAME]."
            )
        if learns != "denoising":
            raise SettingError(
                f"The recipe trains {self.recipe.model}; only denoisers are trained over sites. "
                "What other models fit to their patients before training would leave the site."
            )
        if self.recipe.training.adapt != "all":
            raise SettingError(
                f"The recipe adapts {self.recipe.training.adapt} only; sites train all weights. "
                'Say adapt = "all".'
            )
        if settings.secure_aggregation and len(self.sites) < FEWEST_MASKED:
            raise SettingError(
                f"Secure aggregation of {len(self.sites)} sites hides nobody; expected "
                f"{FEWEST_MASKED} or more."
            )
        if settings.secure_aggregation and self.defence.screen:
            raise SettingError(
                "secure_aggregation = true hides each update from the server, so none can be "
                "compared with the others. Say [defence] screen = false: a site that poisons is "
                "then not seen."
            )

    @property
    def private(self) -> bool:
        """Whether noise is added for the privacy of patients."""
        return self.privacy.epsilon > 0

    @property
    def proximal(self) -> float:
        """Weight of the pull towards the shared weights; 0 for fedavg."""
        return self.settings.proximal if self.settings.strategy == "fedprox" else 0.0

    @property
    def steps(self) -> int:
        """Optimizer steps of a site in all rounds."""
        return self.settings.rounds * self.settings.local_steps

    def of_site(self, name: str) -> Recipe:
        """Return the recipe as a site trains it: its images, its steps, random numbers of its own.

        Raises:
            SettingError: there is no such site.
            InputError: its table names no images, or its folder is not there.
        """
        if name not in self.sites:
            raise SettingError(f"No site is called {name!r}. {nearest(name, self.sites)}")
        site = self.sites[name]
        if not site.sources and not site.folder:
            raise InputError(
                f"The table [sites.{name}] names no images. Give it folder = or sources =."
            )
        if site.folder and not Path(site.folder).is_dir():
            raise InputError(f"The folder {site.folder} of site {name!r} is not there.")
        sources = {**site.sources, **({site.folder: 1.0} if site.folder else {})}
        number = 1 + sorted(self.sites).index(name)
        training = self.recipe.training
        return replace(
            self.recipe,
            data=replace(self.recipe.data, sources=sources, held_out=site.held_out),
            training=replace(training, steps=self.steps, seed=1000 * training.seed + number),
        )

    def central(self) -> Recipe:
        """Return the recipe that trains on the images of all sites in one place."""
        plans = [self.of_site(name) for name in self.sites]
        weights: dict[str, float] = {}
        for plan in plans:
            whole = sum(plan.data.sources.values())
            for source, weight in plan.data.sources.items():
                weights[source] = weights.get(source, 0.0) + weight / whole
        held_out = tuple(name for plan in plans for name in plan.data.held_out)
        return replace(
            self.recipe,
            data=replace(self.recipe.data, sources=weights, held_out=held_out),
            training=replace(self.recipe.training, steps=self.steps),
        )

    def fingerprint(self) -> str:
        """Return a hash of all that the server and every site must have alike."""
        shared = {
            "model": self.recipe.model,
            "net": dict(self.recipe.net),
            "batch": self.recipe.data.batch,
            "training": asdict(self.recipe.training),
            "settings": {**asdict(self.settings), "recipe": ""},
            "privacy": asdict(self.privacy),
            "sites": sorted(self.sites),
        }
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:16]


def _site(name: str, table: Any, beside: Path) -> SitePlan:
    if not isinstance(table, dict) or not name.replace("-", "").replace("_", "").isalnum():
        raise SettingError(
            f"[sites.{name}] is no table of a site; expected a name of letters, digits, - and _."
        )
    site = from_table(f"The table [sites.{name}]", SitePlan, table)
    return replace(site, folder=str((beside / site.folder).resolve()) if site.folder else "")
