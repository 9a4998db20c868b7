"""How often the check for copies is wrong, and how many planted copies it needs to find them.

python benchmarks/memorization.py [--sizes 100,500,2000] [--repetitions 20,4,1] [--pool FILE]

Images are axial T1w slices of digital patients, each of another patient, 80 x 64 pixels of 2.8 mm,
at random heights. Training and generated sets are drawn from them without overlap, so the generator
is perfect and copies nothing. Then some generated images are replaced by copies of training images:
exact ones, flipped ones, with noise (5 % of the 99th percentile), shifted (by up to 4 pixels along
each axis), patched (a block of 30 % of each side from another patient), cropped (by 10 % and
enlarged again). Size: share of sets without copies whose p-value is at most 0.05. Power: share of
sets with copies; each repetition is planted 200 times, with other images and other copies.
`reported` is the power at 1 % that the check itself states, median over the repetitions.

python benchmarks/memorization.py --nulls 400 [--sizes 100] [--skip 0]

splits the same images again and again into a training and a generated set, without copies: the size
of the whole check, with its Clopper-Pearson interval.

python benchmarks/memorization.py --heads 24

audits what `veridical synthesize` ships: anatomies that it imagines, as label maps of 4 mm in which
every structure has the brightness of T1w, against the 13 heads that its shapes were learned from.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage, stats

from veridical.audit import copies
from veridical.audit.audited_study import known
from veridical.audit.resemblance import Pictures, nearest, of_arrays, reduced
from veridical.phantoms import head_distance
from veridical.phantoms.cohort import Cohort
from veridical.phantoms.head_shapes import shape_model
from veridical.phantoms.label_maps import BRAIN, structure
from veridical.phantoms.rendering import render
from veridical.task import silent
from veridical.tasks.synthesize import NOTHING, Synthesize
from veridical.types import Array, Geometry, Image, Result, Study

SHAPE, SPACING, SHARES, PLANTINGS, COPIED = (80, 64), 2.8, (0.005, 0.01, 0.02, 0.05), 200, 20
BRIGHTNESS = {
    "background": 0.0,
    "white matter": 1.0,
    "cerebellar white matter": 1.0,
    "brain stem": 0.9,
    "cortex": 0.7,
    "cerebellar cortex": 0.7,
    "lateral ventricle": 0.2,
    "third and fourth ventricle": 0.2,
    "fluid around the brain": 0.2,
    "compact bone": 0.05,
    "fat": 1.2,
    "skin": 0.8,
}
"""Of structures in T1w, white matter 1; the others have 0.6."""


def phantoms(count: int) -> Array:
    """Return `(count, y, x)` slices of as many patients."""
    cohort = Cohort(3)
    made = [render(cohort.slice(n, SHAPE, SPACING, "axial"), "T1w") for n in range(count)]
    return np.stack(made).astype(np.float32)


def small(images: Array) -> Pictures:
    """Return images as the check compares them."""
    grid = [reduced(one[..., None], (SPACING, SPACING, 1.0), SPACING * SHAPE[0]) for one in images]
    return of_arrays([str(n) for n in range(len(images))], np.stack(grid))


def flipped(image: Array, other: Array, rng: np.random.Generator) -> Array:
    return np.asarray(image[:, ::-1])


def noisy(image: Array, other: Array, rng: np.random.Generator) -> Array:
    return np.asarray(image + rng.normal(0, 0.05 * np.percentile(image, 99), image.shape))


def shifted(image: Array, other: Array, rng: np.random.Generator) -> Array:
    return np.asarray(ndimage.shift(image, rng.uniform(-4, 4, 2), order=1))


def patched(image: Array, other: Array, rng: np.random.Generator) -> Array:
    out = image.copy()
    y, x = (int(rng.uniform(0.2, 0.5) * n) for n in image.shape)
    block = slice(y, y + int(0.3 * image.shape[0])), slice(x, x + int(0.3 * image.shape[1]))
    out[block] = other[block]
    return out


def cropped(image: Array, other: Array, rng: np.random.Generator) -> Array:
    low = [int(0.05 * n) for n in image.shape]
    cut = image[low[0] : -low[0], low[1] : -low[1]]
    factors = [n / m for n, m in zip(image.shape, cut.shape, strict=True)]
    return np.asarray(ndimage.zoom(cut, factors, order=1))


KINDS: dict[str, Callable[[Array, Array, np.random.Generator], Array]] = {
    "exact": lambda image, other, rng: image,
    "flipped": flipped,
    "noisy": noisy,
    "shifted": shifted,
    "patched": patched,
    "cropped": cropped,
}


def planted(
    sets: copies.ComparedSets, gaps: copies.Gaps, share: float, rng: np.random.Generator
) -> float:
    """Return the share of sets that are found with a share of planted copies of these gaps."""
    own = np.broadcast_to(copies.gaps(sets.near), (PLANTINGS, len(sets.generated))).copy()
    count = max(1, round(share * own.shape[1]))
    for row in own:
        row[rng.permutation(len(row))[:count]] = rng.choice(gaps, count)
    p = np.min([*copies.unlabelled(sets, own).values()], axis=0)
    return float(np.mean(2 * p <= copies.LEVEL))


def repetition(images: Array, pictures: Pictures, size: int, seed: int) -> dict[str, float]:
    """Return p-value, reported power, and power by kind and share of one pair of sets."""
    rng = np.random.default_rng((size, seed))
    order = rng.permutation(len(images))
    training, generated = order[:size], order[size : 2 * size]
    sets = copies.of_pictures(pictures.chosen(generated), pictures.chosen(training))
    found = {"p": copies.judged(sets)[0], "reported": copies.power(sets)}
    for kind, change in KINDS.items():
        chosen, others = (rng.choice(training, COPIED) for _ in range(2))
        made = small(
            np.stack(
                [change(images[a], images[b], rng) for a, b in zip(chosen, others, strict=True)]
            )
        )
        gaps = copies.gaps(nearest(made, sets.training))
        found |= {f"{kind} {share:g}": planted(sets, gaps, share, rng) for share in SHARES}
    return found


def size_of(pictures: Pictures, size: int, often: int) -> None:
    """Print the share of sets without copies whose p-value is at most 0.05, as splits go on."""
    p: list[float] = []
    for number in range(often):
        order = np.random.default_rng((size, number, 1)).permutation(len(pictures))
        generated, training = pictures.chosen(order[:size]), pictures.chosen(order[size : 2 * size])
        p.append(copies.judged(copies.of_pictures(generated, training))[0])
        if len(p) % 50 == 0 or len(p) == often:
            found = sum(one <= copies.LEVEL for one in p)
            low, high = stats.binomtest(found, len(p)).proportion_ci(0.95)
            print(
                f"sets of {size} without copies: {found} of {len(p)} have p <= {copies.LEVEL}, "
                f"{found / len(p):.3f} (95 % interval {low:.3f} to {high:.3f}); at 0.2 "
                f"{np.mean(np.array(p) <= 0.2):.3f}",
                flush=True,
            )


def shipped(count: int) -> None:
    """Audit as many imagined heads, and as many with one shifted copy of a training head."""
    labels = [head_distance.at_4mm(*imagined(number)) for number in range(1, count + 1)]
    model = shape_model()
    training = {name: drawn(one) for name, one in zip(model.names, model.coarse, strict=True)}
    copy = ndimage.shift(model.coarse[3][::-1], (1, 0, 1), order=0)
    for what, heads in (("imagined", labels), ("one copy among them", [*labels[1:], copy])):
        made = {str(number): drawn(one) for number, one in enumerate(heads, 1)}
        study = known(Study("", {0.0: {}}), generated=made, training=training)
        found = copies.copies(study, Result(made["1"], "image"))
        assert found is not None
        print(f"{what}: {found.verdict}: {found.reason} {found.evidence['tests']}", flush=True)
    near = [head_distance.nearest_head(one) for one in labels]
    print(
        f"distance to the nearest training head: {np.mean([one.distance for one in near]):.3f} on "
        f"average, {min(one.distance for one in near):.3f} at least; between training heads "
        f"{near[0].nearest[0]:.3f} and {near[0].least:.3f}"
    )


def imagined(number: int) -> tuple[Array, Array]:
    """Return labels of an imagined head, and the map from voxels to mm from its brain's middle."""
    task = Synthesize(contrasts="T1w", spacing=4.0, pathology="none", number=number)
    made = task.apply(NOTHING, 0, silent).also["labels"].image
    labels = np.asarray(made.data[0], np.uint8)
    inside = np.argwhere(np.isin(labels, [structure(name) for name in BRAIN]))
    affine = made.geometry.affine[:3].copy()
    affine[:, 3] -= affine[:, :3] @ (inside.min(0) + inside.max(0)) / 2 + affine[:, 3]
    return labels, affine.astype(np.float32)


def drawn(labels: Array) -> Image:
    """Return a label map on the grid of 4 mm as an image: white matter 1, grey 0.7, fluid 0.2."""
    values = np.full(256, 0.6)
    for name, value in BRIGHTNESS.items():
        values[structure(name)] = value
    grid = Geometry(labels.shape, np.diag([4.0, 4.0, 4.0, 1.0]))
    return Image(values[labels][None].astype(np.float32), grid, "a.u.", ("T1w",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="100,500,2000")
    parser.add_argument("--repetitions", default="20,4,1")
    parser.add_argument("--nulls", type=int, default=0, help="splits without copies, for the size")
    parser.add_argument("--skip", type=int, default=0, help="phantoms to leave out first")
    parser.add_argument("--pool", type=Path, help="file in which the phantoms are kept")
    parser.add_argument("--heads", type=int, default=0, help="audit so many imagined heads")
    given = parser.parse_args()
    if given.heads:
        shipped(given.heads)
        return
    sizes = [int(one) for one in given.sizes.split(",")]
    repetitions = [int(one) for one in given.repetitions.split(",")]
    count = given.skip + 2 * max(sizes) + 200 + 600 * bool(given.nulls)
    if given.pool and given.pool.exists():
        images = np.load(given.pool)[:count]
    else:
        images = phantoms(count)
        if given.pool:
            np.save(given.pool, images)
    images = images[given.skip :]
    pictures = small(images)
    if given.nulls:
        size_of(pictures, sizes[0], given.nulls)
        return
    for size, often in zip(sizes, repetitions, strict=True):
        rows = [repetition(images, pictures, size, seed) for seed in range(often)]
        p = np.array([row["p"] for row in rows])
        reported = np.median([row["reported"] for row in rows])
        print(
            f"\nsets of {size}, {often} times: size {np.mean(p <= copies.LEVEL):.3f} at 0.05, "
            f"{np.mean(p <= 0.2):.3f} at 0.2; smallest p {p.min():.3f}; reported {reported:.2f}"
        )
        print("| copies | " + " | ".join(f"{share:.1%}" for share in SHARES) + " |")
        print("|---|" + "---|" * len(SHARES))
        for kind in KINDS:
            power = [np.mean([row[f"{kind} {share:g}"] for row in rows]) for share in SHARES]
            print(f"| {kind} | " + " | ".join(f"{one:.2f}" for one in power) + " |", flush=True)


if __name__ == "__main__":
    main()
