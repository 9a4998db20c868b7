"""Finding the images of an evaluation: folders of every usual layout, stacks, arrays in memory;
loaded one at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from nibabel import orientations

from veridical.errors import FormatError, InputError, ProvenanceError, SettingError, nearest
from veridical.evaluation.names import case_names, suffix_of
from veridical.io import dicom
from veridical.io.bids import PROVENANCE, load_provenance
from veridical.io.contrast import SUFFIXES, channel_names, stem, units_for
from veridical.io.files import read
from veridical.io.guards import BUDGET, existing, finite, within
from veridical.io.kspace import damaged
from veridical.io.npy import load_npy
from veridical.layouts.discovery import entries_of
from veridical.layouts.tree import Listing
from veridical.layouts.tree import suffix_of as suffix_of_file
from veridical.types import Array, Geometry, Image, Measurement

NIFTI = (".nii", ".nii.gz")
ARRAYS = (".npy", ".npz")
VOLUMES = (".nii", ".npy", ".npz", ".mha", ".mhd", ".img")
RAW = (".h5", ".hdf5", ".cfl", ".mrd")
AXES = ("case", "channel", "x", "y", "z")


@dataclass(frozen=True, eq=False)
class Source:
    """One image that is loaded when asked for, never kept.

    Args: name: of the case. path: file or DICOM folder; None for arrays in memory. options: for
        `veridical.read`; `axes` is kept for bare arrays only. index: position in a stacked array
        file or an array in memory. image: what is in memory already. channels: for a file whose
        fourth axis holds draws, channels fastest: how many belong to one draw; `index` is then the
        number of the draw. 0 for all other files.
    """

    name: str
    path: Path | None
    options: Mapping[str, Any] = field(default_factory=dict)
    index: int | None = None
    image: Image | None = None
    channels: int = 0

    def load(self) -> Image:
        """Return the image, its axes in the order and direction nearest to RAS+, so that DICOM and
        NIfTI of one scan agree.

        Raises: InputError: it holds raw data, a fourth axis that nothing names, or an array whose
            axes are not given. FormatError, GeometryError, UnitsError, BudgetError: as the reader
            says.
        """
        return nearest_to_ras(self._stored())

    def _stored(self) -> Image:
        if self.image is not None:
            return self.image
        path = cast(Path, self.path)
        if path.name.endswith(ARRAYS):
            return _bare(path, self.options, self.index)
        options = {key: value for key, value in self.options.items() if key != "axes"}
        found = read(path, **options)
        if isinstance(found, Measurement):
            raise InputError(
                f"{path} holds raw data, not an image. Reconstruct it first: veridical reconstruct "
                f"{path} -o out."
            )
        if self.channels:
            return _one_draw(found, self.index or 0, self.channels)
        return _named(found, path)

    def sha256(self) -> str:
        """Return the hash of the file's bytes; of all files of a DICOM folder by name; of index and
        array for a stack.
        """
        found = hashlib.sha256()
        if self.path is None or (self.index is not None and not self.channels):
            image = self.load()
            found.update(f"{self.index}{image.data.dtype.str}{image.data.shape}".encode())
            found.update(np.ascontiguousarray(image.data).data)
            return found.hexdigest()
        files = (
            sorted(f for f in self.path.iterdir() if f.is_file())
            if self.path.is_dir()
            else [self.path]
        )
        for file in files:
            with existing(file).open("rb") as stream:
                part = hashlib.file_digest(stream, "sha256")
            if not self.path.is_dir() and not self.channels:
                return part.hexdigest()
            found.update(f"{file.name}\0{self.index}\0{part.hexdigest()}\n".encode())
        return found.hexdigest()


def nearest_to_ras(image: Image) -> Image:
    """Return the image with its axes exchanged and turned to run nearest to right, anterior,
    superior; nothing is resampled.
    """
    turn = orientations.io_orientation(image.geometry.affine)
    if image.geometry.frame == "index" or np.array_equal(turn, [[0, 1], [1, 1], [2, 1]]):
        return image
    data = np.stack([orientations.apply_orientation(channel, turn) for channel in image.data])
    affine = image.geometry.affine @ orientations.inv_ornt_aff(turn, image.geometry.shape)
    return replace(
        image,
        data=data,
        geometry=Geometry(
            cast("tuple[int, int, int]", data.shape[1:]), affine, image.geometry.frame
        ),
    )


def find(where: Any, options: Mapping[str, Any]) -> dict[str, Source]:
    """Return the images at `where` by case.

    Args: where: a folder (flat, one folder a case, BIDS, results of Veridical, DICOM series), one
        file, or what is in memory: an array or tensor `(case, x, y)`, `(case, channel, x, y)` or
        `(case, channel, x, y, z)`, a sequence of images, or case -> image. options: of
        `veridical.read`: `units`, `contrast`, `axes` (of bare arrays: `x,y`, `channel,x,y,z`;
        starting with `case` a file is a stack, and its cases are numbered from `0000`), `slices`,
        `budget`. With `units="label"` the masks and segmentations of a BIDS tree are meant,
        otherwise its images.

    Raises: InputError: no such folder, no image in it (with what is there instead), two files of
        one case, or two- and three-dimensional images side by side. SettingError: `axes` names an
        unknown axis.
    """
    if isinstance(where, str | Path):
        return _on_disk(Path(where), dict(options))
    if isinstance(where, Mapping):
        images = dict(where)
    elif isinstance(where, Sequence):
        images = {f"{number:04d}": image for number, image in enumerate(where)}
    else:
        images = _stacked(where, options)
    wrong = {
        name: type(image).__name__ for name, image in images.items() if not isinstance(image, Image)
    }
    if wrong or not images:
        got = ", ".join(f"{name}: {kind}" for name, kind in list(wrong.items())[:3]) or "nothing"
        raise InputError(
            f"Expected images by case, got {got}. Give Image objects, one array (case, channel, x, "
            "y, z), or a folder."
        )
    named = isinstance(where, Mapping)
    found = {
        str(name): Source(str(name), None, {}, None if named else number, image)
        for number, (name, image) in enumerate(images.items())
    }
    _one_dimensionality(
        {name: (image.geometry.shape[2] > 1) for name, image in images.items()}, "What was given"
    )
    return found


def results(where: Path, role: str, options: Mapping[str, Any]) -> dict[str, Source]:
    """Return the files of one role (`lower`, `upper`, `draws`) in the results of Veridical below a
    folder, by case; or none.
    """
    if not where.is_dir():
        return {}
    files = [
        file for folder in Listing.of(where).results for file in _of_result(where / folder, role)
    ]
    return as_cases(files, where, options)


def _on_disk(where: Path, options: dict[str, Any]) -> dict[str, Source]:
    if not where.exists():
        raise InputError(f"{where} does not exist; expected a folder of images. Check the path.")
    if where.is_file():
        if where.suffix in ARRAYS and "case" in str(options.get("axes", "")).split(","):
            return _stack_file(where, options)
        if suffix_of_file(where.name) not in VOLUMES and not dicom.recognises(where):
            raise InputError(
                f"{where} is no image: expected NIfTI, DICOM, .npy or .npz, or a folder of them."
            )
        return {stem(where): Source(stem(where), where, options)}
    listing = Listing.of(where)
    files = _right_kind(images_of(listing), listing, options)
    if not files:
        raw = (
            " (raw data: reconstruct first)"
            if any(suffix_of_file(name) in RAW for name in listing.files)
            else ""
        )
        raise InputError(
            f"{where} holds no image: {listing.held}{raw}. Expected NIfTI, MetaImage, .npy, .npz "
            "or DICOM series."
        )
    found = as_cases(files, where, options)
    _one_dimensionality(_depths(found), str(where))
    return found


def images_of(listing: Listing) -> list[Path]:
    """Return image files and folders of DICOM series, in the order of their names; what is no input
    is left out.

    Raises:
        InputError: the record of a result of Veridical cannot be read.
    """
    for folder, roles in listing.results.items():
        if roles is None:
            _of_result(listing.root / folder, "estimate")
    found = set[str]()
    for name in listing.data:
        if suffix_of_file(name) in VOLUMES:
            found.add(name)
        elif suffix_of_file(name) not in RAW and dicom.recognises(listing.root / name):
            found.add(str(PurePosixPath(name).parent))
    return [
        listing.root / name for name in sorted(found, key=lambda name: PurePosixPath(name).parts)
    ]


def _of_result(folder: Path, role: str) -> list[Path]:
    """Return the file of a role in a result of Veridical, complex results by their magnitude; or
    none.

    Raises:
        InputError: its record cannot be read, or the file is gone.
    """
    try:
        files = load_provenance(folder).files
    except ProvenanceError as error:
        raise InputError(f"{folder} looks like a result of Veridical, but {error}") from error
    said = files.get(role) or files.get(f"{role}_magnitude")
    if said is None:
        return []
    file = folder / Path(said["path"]).name
    if not file.exists():
        raise InputError(
            f"{folder / PROVENANCE} names {file.name}, which is not there. Copy the result again, "
            "as a whole."
        )
    return [file]


def _right_kind(files: list[Path], listing: Listing, options: Mapping[str, Any]) -> list[Path]:
    """Leave out label maps where images are meant, and the other contrasts of a BIDS tree where one
    is.
    """
    labels = {
        listing.root / entry.path for entry in entries_of(listing) if entry.kind == "label"
    } & set(files)
    images = [file for file in files if file not in labels]
    kept = (
        ([f for f in files if f in labels] or images)
        if options.get("units") == "label"
        else (images or files)
    )
    wanted, suffixes = options.get("contrast"), {file: suffix_of(stem(file)) for file in kept}
    same = [f for f in kept if SUFFIXES.get((suffixes[f] or "").lower()) == wanted]
    return same if wanted is not None and same and all(suffixes.values()) else kept


def as_cases(files: Sequence[Path], root: Path, options: Mapping[str, Any]) -> dict[str, Source]:
    """Name the files as cases.

    Raises:
        InputError: two files are of one case.
    """
    places = []
    for file in files:
        relative = file.relative_to(root) if file != root else Path(root.resolve().name)
        folder = relative if file.is_dir() else relative.parent
        places.append(
            ("" if str(folder) == "." else folder.as_posix(), "" if file.is_dir() else stem(file))
        )
    found: dict[str, Source] = {}
    for name, file in zip(case_names(places), files, strict=True):
        if name in found:
            raise InputError(
                f"{root} holds two images of the case {name}: {found[name].path} and {file}. "
                "Give the folder that holds one of them, or move the other away."
            )
        found[name] = Source(name, file, options)
    return dict(sorted(found.items()))


def _depths(found: Mapping[str, Source]) -> dict[str, bool]:
    """Return case -> is it three-dimensional, for NIfTI files whose header can be read; nothing
    else is opened.
    """
    import nibabel

    depths = {}
    for name, source in found.items():
        if source.path is not None and source.path.name.endswith(NIFTI):
            try:
                shape = nibabel.load(source.path).shape
            except Exception:  # whatever is wrong with the file, loading it says so
                continue
            depths[name] = len(shape) > 2 and shape[2] > 1
    return depths


def _one_dimensionality(deep: Mapping[str, bool], where: str) -> None:
    flat = [name for name, volume in deep.items() if not volume]
    volumes = [name for name, volume in deep.items() if volume]
    if flat and volumes:
        raise InputError(
            f"{where} holds {len(flat)} two-dimensional images ({', '.join(flat[:3])}) and "
            f"{len(volumes)} three-dimensional "
            f"ones ({', '.join(volumes[:3])}); scores of the two cannot be averaged. Put them into "
            "folders of their own."
        )


def _one_draw(image: Image, index: int, channels: int) -> Image:
    data = image.data[index * channels : (index + 1) * channels]
    names = tuple(
        name.split(":draw-")[0]
        for name in image.channels[index * channels : (index + 1) * channels]
    )
    return replace(image, data=data, channels=names)


def _named(image: Image, path: Path) -> Image:
    """Refuse a fourth axis that nothing names; a single channel that nothing names is `image`,
    whatever the file is called.
    """
    source, count = str(image.header.get("contrast_source", "")), image.data.shape[0]
    if count > 1 and source not in ("given", "file header"):
        raise InputError(
            f"{path} holds {count} volumes along a fourth axis, and nothing says what they are; "
            "expected (x, y, z). "
            "Contrasts: name them in their order, --contrast T1w,T2w,... A time series or draws: "
            "split it into one file each."
        )
    return (
        replace(image, channels=("image",))
        if count == 1 and source.endswith("not stated")
        else image
    )


def _axes(options: Mapping[str, Any], shape: tuple[int, ...], what: str) -> tuple[str, ...]:
    """Return the names of an array's axes."""
    said = options.get("axes")
    names = (
        tuple(str(said).replace(" ", "").split(","))
        if said is not None
        else ("x", "y")
        if len(shape) == 2
        else ()
    )
    if not names:
        raise InputError(
            f"{what} is a bare array of shape {shape}; say what its axes are: --axes x,y,z, or "
            "--axes case,x,y for a stack."
        )
    for name in names:
        if name not in AXES:
            raise SettingError(f"No axis of an image is called {name!r}. {nearest(name, AXES)}")
    if len(names) != len(shape) or len(set(names)) != len(names) or not {"x", "y"} <= set(names):
        raise InputError(
            f"{what} has the shape {shape}, the axes given are {','.join(names)}; name each axis "
            "once, x and y among them."
        )
    return names


def _opened(path: Path, budget: int) -> Array:
    """Return a bare array, mapped to memory where the file allows it."""
    if path.suffix == ".npz":
        return load_npy(existing(path), budget)
    try:
        return np.asarray(np.load(existing(path), mmap_mode="r", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise damaged(path, error, "the array") from error


def _bare(path: Path, options: Mapping[str, Any], index: int | None) -> Image:
    """Read one image from a file of a bare array."""
    unknown = set(options) - {"axes", "contrast", "units", "budget"}
    if unknown:
        raise SettingError(
            f"{path} is a bare array, for which {', '.join(sorted(unknown))} cannot be given. "
            "Leave it out."
        )
    budget = int(options.get("budget", BUDGET))
    array = _opened(path, budget)
    axes = _axes(options, array.shape, str(path))
    if index is not None:
        place = axes.index("case")
        array, axes = (
            np.take(array, index, axis=place),
            tuple(name for name in axes if name != "case"),
        )
    within(array.nbytes, budget, path)
    return as_image(array, axes, options, path)


def as_image(array: Array, axes: tuple[str, ...], options: Mapping[str, Any], what: Path) -> Image:
    """Return an array as an image on a grid of unknown spacing."""
    if array.dtype.kind == "c":
        raise InputError(
            f"{what} holds {array.dtype}: raw data or a complex image. Reconstruct it, or take the "
            "magnitude, first."
        )
    if array.dtype.kind not in "biuf":
        raise FormatError(f"{what} holds {array.dtype}; expected numbers.")
    order = [name for name in AXES[1:] if name in axes]
    data = np.transpose(array, [axes.index(name) for name in order])
    if "channel" not in axes:
        data = data[None]
    if "z" not in axes:
        data = data[..., None]
    names, said = channel_names(Path("image"), data.shape[0], options.get("contrast"))
    units, stated = units_for(names[0], options.get("units"), None)
    if units != "label":
        data = data.astype(
            np.float64
            if data.dtype.itemsize > 4 or data.dtype.name in ("int32", "uint32")
            else np.float32
        )
    if what.suffix in ARRAYS:
        finite(data, what)
    header = {"contrast_source": said, "units_source": stated}
    return Image(
        data, Geometry.index(cast("tuple[int, int, int]", data.shape[1:])), units, names, header
    )


def _stack_file(path: Path, options: Mapping[str, Any]) -> dict[str, Source]:
    """Return the cases of a stacked array file; an archive is unpacked once and stays in memory."""
    array = _opened(path, int(options.get("budget", BUDGET)))
    axes = _axes(options, array.shape, str(path))
    place = axes.index("case")
    found = {
        f"{n:04d}": Source(f"{n:04d}", path, dict(options), n) for n in range(array.shape[place])
    }
    if path.suffix == ".npy":
        return found
    rest = tuple(name for name in axes if name != "case")
    return {
        name: replace(
            source, image=as_image(np.take(array, number, axis=place), rest, options, path)
        )
        for number, (name, source) in enumerate(found.items())
    }


def _stacked(where: Any, options: Mapping[str, Any]) -> dict[str, Image]:
    """Return the cases of an array or tensor in memory."""
    array = as_array(where)
    axes = {3: ("x", "y"), 4: ("channel", "x", "y"), 5: ("channel", "x", "y", "z")}.get(array.ndim)
    if axes is None or 0 in array.shape:
        raise InputError(
            f"An array of shape {array.shape} was given; expected (case, x, y), (case, channel, x, "
            "y) or "
            "(case, channel, x, y, z)."
        )
    return {f"{n:04d}": as_image(one, axes, options, Path("image")) for n, one in enumerate(array)}


def as_array(where: Any) -> Array:
    """Return an array or a tensor, of any device and of any precision, as an array."""
    if hasattr(where, "detach"):
        where = where.detach().cpu()
        where = where.float() if str(where.dtype) == "torch.bfloat16" else where
    return np.asarray(where)
