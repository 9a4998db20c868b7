"""A site of a federation: trains the shared weights on its own images and says what that changed.

What leaves it: the update of the weights, how many patients it has, and scores on held-out
patients; without privacy of patients also its training loss. All else stays in its folder: images,
their packed copy, the state of its optimizer, what it answered last, and the account of its
privacy.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from veridical import registry
from veridical.errors import FormatError, InputError
from veridical.io.guards import write_text
from veridical.models.base import pick_device
from veridical.training import patient_privacy
from veridical.training.checkpoints import write_tensors
from veridical.training.denoising_data import DenoisingCourse, DenoisingData
from veridical.training.distributed import Ranks
from veridical.training.federation import Federation
from veridical.training.loop import Run, rate
from veridical.training.recipe import Recipe
from veridical.training.screening import Arrays
from veridical.types import Array

ANSWER = "answer.safetensors"
LEDGER = "privacy.json"
CACHE = "cache"


@dataclass(frozen=True, eq=False)
class SiteAnswer:
    """What a site says after a round.

    Args:
        update: name -> what it adds to the shared weights.
        patients: that it trained on.
        facts: numbers to be logged: `before_db`, the score of the shared weights on its held-out
            patients; `loss` without privacy, `epsilon` with it.
    """

    update: Mapping[str, Array]
    patients: int
    facts: Mapping[str, float]


class SiteRun(Run):
    """The training of a site: near the shared weights where the strategy says so.

    Args:
        plan: recipe of the site.
        folder: of the site.
        proximal: weight of the pull towards the shared weights.
    """

    source: DenoisingCourse
    unseen: DenoisingCourse

    def __init__(self, plan: Recipe, folder: Path, proximal: float) -> None:
        ranks = Ranks(0, 1, pick_device(plan.training.device))
        super().__init__(plan, registry.get("model", plan.model), folder, ranks)
        self.proximal = proximal
        self.shared: list[Tensor] = []

    def fitted(self) -> dict[str, Any]:
        return {}  # a description of the images would have to leave the site

    def take(self, weights: Arrays) -> None:
        """Continue from the shared weights."""
        self.net.load_state_dict({key: torch.from_numpy(np.array(v)) for key, v in weights.items()})
        self.shared = [one.detach().clone() for one in self.net.parameters()]

    def weights(self) -> dict[str, Array]:
        """Return the weights of the net, float32."""
        return {
            key: value.detach().cpu().numpy().astype(np.float32)
            for key, value in self.net.state_dict().items()
        }

    def step_on(self) -> float:
        """One optimizer step; returns the loss."""
        count = self.plan.training.accumulate
        numbers = range(self.step * count, (self.step + 1) * count)
        return self.update([(number, self.source[number]) for number in numbers])

    def _learn(self, number: int, item: Any) -> float:
        loss = super()._learn(number, item)
        if self.proximal:
            share = 0.5 * self.proximal / self.plan.training.accumulate
            pull = share * sum(self._distances(), torch.zeros((), device=self.ranks.device))
            torch.autograd.backward(self.state.scaler.scale(pull))
        return loss

    def _distances(self) -> Iterator[Tensor]:
        for own, shared in zip(self.net.parameters(), self.shared, strict=True):
            yield (own - shared).square().sum()


class PrivateSiteRun(SiteRun):
    """The training of a site under privacy of patients.

    Args:
        plan, folder, proximal: as for `SiteRun`.
        federation: with the privacy that is wanted.
    """

    def __init__(self, plan: Recipe, folder: Path, proximal: float, federation: Federation) -> None:
        privacy = federation.privacy
        each = max(1, plan.data.batch // privacy.patients)
        super().__init__(replace(plan, data=replace(plan.data, batch=each)), folder, proximal)
        self.privacy = privacy
        self.courses = list(self.source.by_patient().values())
        self.budget = patient_privacy.budget(privacy, len(self.courses), federation.steps)

    def step_on(self) -> float:
        """One optimizer step on drawn patients; its loss is not told."""
        settings, optimizer = self.plan.training, self.state.optimizer
        chance = patient_privacy.chance(self.privacy, (settings.seed, self.step))
        chosen = patient_privacy.draws(len(self.courses), self.budget.rate, chance)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(self.step, settings)
        parameters = list(self.net.parameters())
        patient_privacy.private_gradient(
            parameters, self._losses(chosen), self.privacy, self.budget, chance
        )
        with torch.no_grad():
            for parameter, shared in zip(parameters, self.shared, strict=True):
                if self.proximal and parameter.grad is not None:
                    parameter.grad.add_(parameter - shared, alpha=self.proximal)
        optimizer.step()
        return math.nan

    def _losses(self, chosen: list[int]) -> Iterator[Tensor]:
        for patient in chosen:
            course = self.courses[patient]
            number = self.step * len(self.courses) + patient
            generator = torch.Generator().manual_seed(self.plan.training.seed * 1_000_003 + number)
            parts = course.losses(self.net, course[number], generator, self.ranks.device)
            yield torch.stack(list(parts)).sum()


class SiteTrainer:
    """What a site does when it is asked.

    Args:
        federation: with the images of this site.
        name: of the site.
        folder: in which all that stays at the site is kept; made when missing.

    Raises:
        InputError: its images are not there, or no patient is held out.
        SettingError: there is no such site, or its privacy cannot be kept.
    """

    def __init__(self, federation: Federation, name: str, folder: str | Path) -> None:
        self.federation, self.name, self.folder = federation, name, Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        plan = federation.of_site(name)
        assert isinstance(plan.data, DenoisingData)
        plan = replace(plan, data=replace(plan.data, cache=str(self.folder / CACHE)))
        self.run = (
            PrivateSiteRun(plan, self.folder, federation.proximal, federation)
            if federation.private
            else SiteRun(plan, self.folder, federation.proximal)
        )
        if not self.run.source.names or not self.run.unseen.names:
            raise InputError(
                f"Site {name!r} has no patient to "
                f"{'train on' if not self.run.source.names else 'judge the weights by'}. Say in "
                f"[sites.{name}] which are held_out; the others train."
            )

    @property
    def patients(self) -> int:
        """How many patients train."""
        return len(self.run.source.by_patient())

    def train(self, number: int, weights: Arrays, fingerprint: str) -> SiteAnswer:
        """Train for one round; asked the same again, the stored answer is given, which costs no
        privacy.

        Args:
            number: of the round, from 1.
            weights: the shared ones.
            fingerprint: of the federation as the server knows it.

        Raises:
            InputError: the server's federation is another one, or epsilon would be exceeded.
        """
        if fingerprint != self.federation.fingerprint():
            raise InputError(
                f"The server's federation is not that of site {self.name!r}: recipe, steps, "
                "strategy, privacy and names of sites must be alike. Compare both files."
            )
        asked = f"{number} {digest(weights)}"
        if (stored := self._stored(asked)) is not None:
            return stored
        begun, run, local = time.perf_counter(), self.run, self.federation.settings.local_steps
        run.restore()
        run.take(weights)
        facts = {"before_db": self.score()}
        self._account(local)
        run.step, losses = (number - 1) * local, []
        for _ in range(local):
            losses.append(run.step_on())
            run.step += 1
        after = run.weights()
        update = {key: after[key] - np.asarray(weights[key], np.float32) for key in after}
        if isinstance(run, PrivateSiteRun):
            facts["epsilon"] = self.epsilon()
        else:
            facts["loss"] = float(np.mean(losses))
        facts["seconds"] = round(time.perf_counter() - begun, 2)
        answer = SiteAnswer(update, self.patients, facts)
        self._store(asked, answer)
        run.state.save(self.folder, run.step, run.seconds + facts["seconds"])
        return answer

    def score(self) -> float:
        """Return the mean PSNR of the net on held-out patients in dB, slices between neighbours."""
        run = self.run
        scores = run.unseen.validate(run.net.eval(), run.plan.training.validate, run.ranks.device)
        run.net.train()
        return scores["stack_net_db"]

    def epsilon(self) -> float:
        """Return what the patients of the site have spent; 0 without privacy."""
        if not isinstance(self.run, PrivateSiteRun):
            return 0.0
        plan = self.run.budget
        return patient_privacy.spent(self.run.privacy, plan.noise, plan.rate, self._taken())

    def _account(self, steps: int) -> None:
        """Write down steps before they are taken: what was begun is spent, however it ends."""
        if not isinstance(self.run, PrivateSiteRun):
            return
        taken = self._taken() + steps
        patient_privacy.within(self.run.privacy, self.run.budget, taken)
        said = {"taken": taken, **asdict(self.run.budget)}
        write_text(self.folder / LEDGER, json.dumps(said, indent=2) + "\n")

    def _taken(self) -> int:
        path = self.folder / LEDGER
        if not path.is_file():
            return 0
        try:
            return int(json.loads(path.read_text(encoding="utf-8"))["taken"])
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"The account of privacy {path} cannot be read ({error}). Restore it: without it "
                "nobody knows what the patients have given."
            ) from error

    def _store(self, asked: str, answer: SiteAnswer) -> None:
        tensors = {key: torch.from_numpy(value) for key, value in answer.update.items()}
        meta = {"asked": asked, "facts": json.dumps({**answer.facts, "patients": answer.patients})}
        write_tensors(self.folder / ANSWER, tensors, meta)

    def _stored(self, asked: str) -> SiteAnswer | None:
        """Return the stored answer if it is the one to this question."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / ANSWER
        if not path.is_file():
            return None
        try:
            with safe_open(path, "np") as file:
                meta = file.metadata() or {}
                if meta.get("asked") != asked:
                    return None
                update = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except SafetensorError:
            return None
        facts = json.loads(meta["facts"])
        return SiteAnswer(update, int(facts.pop("patients")), facts)


def digest(weights: Arrays) -> str:
    """Return a hash of weights."""
    whole = hashlib.sha256()
    for name in sorted(weights):
        whole.update(name.encode())
        whole.update(np.ascontiguousarray(weights[name], np.float32).tobytes())
    return whole.hexdigest()[:32]
