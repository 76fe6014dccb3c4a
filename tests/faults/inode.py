"""A file of the simulated disk: what is in the page cache, and what may be on the disk."""

from collections.abc import Callable
from typing import Final

SECTOR: Final = 512
"""Bytes that a disk writes whole or not at all."""
PAGE: Final = 4096
"""Bytes that the kernel writes back together, and marks clean together."""
_SECTORS: Final = PAGE // SECTOR


class Inode:
    """One file. Contents of a sector count since its page was last made durable."""

    __slots__ = ("_cache", "_durable", "dirty", "limbo", "sizes", "versions")

    def __init__(self, durable: bytes = b"") -> None:
        self._durable = durable
        self._cache: bytearray | None = None
        """None while it is what is durable."""
        self.versions: dict[int, list[bytes]] = {}
        """Sector → what it may hold on the disk, oldest first."""
        self.sizes = [len(durable)]
        """Sizes it may have on the disk, oldest first."""
        self.dirty: set[int] = set()
        self.limbo: set[int] = set()
        """Pages that a failed sync marked clean."""

    @property
    def size(self) -> int:
        return len(self._durable if self._cache is None else self._cache)

    @property
    def pending(self) -> bool:
        """Whether a power cut could leave anything but `content`."""
        return bool(self.versions) or len(self.sizes) > 1

    def content(self) -> bytes:
        """What a process reads."""
        return self._durable if self._cache is None else bytes(self._cache)

    def copy(self) -> "Inode":
        other = Inode(self._durable)
        if self._cache is not None:
            other._cache = bytearray(self._cache)
        other.versions = {sector: list(contents) for sector, contents in self.versions.items()}
        other.sizes = list(self.sizes)
        other.dirty = set(self.dirty)
        other.limbo = set(self.limbo)
        return other

    # -- what processes do --------------------------------------------------------------------

    def write(self, data: bytes, offset: int) -> None:
        cache, end = self._own(), offset + len(data)
        if end > len(cache):
            self.truncate(end)
        sectors = range(offset // SECTOR, (end - 1) // SECTOR + 1)
        cache[offset:end] = data
        for sector in sectors:
            at = sector * SECTOR
            contents = self.versions.get(sector)
            if contents is None:
                contents = self.versions[sector] = [_sector(self._durable, at)]
            content = _sector(cache, at)
            if content != contents[-1]:
                contents.append(content)
            self.dirty.add(at // PAGE)

    def truncate(self, size: int) -> None:
        cache = self._own()
        if size < len(cache):
            del cache[size:]
            if size % SECTOR and size // SECTOR in self.versions:
                self.versions[size // SECTOR].append(_sector(cache, size // SECTOR * SECTOR))
        else:
            cache.extend(bytes(size - len(cache)))
        if size != self.sizes[-1]:
            self.sizes.append(size)

    def sync(self, *, lazy_shrink: bool = False) -> None:
        """Make the dirty pages durable, and the size; those in limbo stay as they are."""
        if self._cache is None:
            return
        cache = self._cache
        cleaned = self.dirty
        self.limbo -= cleaned
        kept = {
            sector: contents
            for sector, contents in self.versions.items()
            if sector // _SECTORS not in cleaned and sector * SECTOR < len(cache)
        }
        beyond = self._durable[len(cache) :] if lazy_shrink else b""
        if kept:
            durable = bytearray(cache)
            for sector, contents in kept.items():
                at = sector * SECTOR
                durable[at : at + SECTOR] = contents[0][: len(durable) - at]
            self._durable = bytes(durable) + beyond
        else:
            self._durable = bytes(cache) + beyond
            if not beyond:
                self._cache = None
        self.versions = kept
        self.sizes = [len(cache) + len(beyond), len(cache)] if beyond else [len(cache)]
        self.dirty = set()

    def sync_failed(self) -> None:
        """The pages count as clean now, and are not on the disk, or are."""
        self.limbo |= self.dirty
        self.dirty = set()

    def forget(self, choose: Callable[[int], int]) -> None:
        """Read the pages in limbo from the disk again: they show what it took of them."""
        cache = self._own()
        durable = bytearray(self._durable.ljust(len(cache), b"\0"))
        for sector in [s for s in self.versions if s // _SECTORS in self.limbo - self.dirty]:
            contents = self.versions.pop(sector)
            at = sector * SECTOR
            content = contents[choose(len(contents))]
            durable[at : at + SECTOR] = content
            if at < len(cache):
                cache[at : at + SECTOR] = content[: len(cache) - at]
        self._durable = bytes(durable[: max(self.sizes)])
        self.limbo &= self.dirty

    # -- what a power cut leaves --------------------------------------------------------------

    def radices(self) -> list[int]:
        """How many choices there are: for the size, then for each sector in order."""
        return [len(self.sizes), *map(len, self.versions.values())]

    def after(self, digits: list[int], tear: Callable[[int], int] | None) -> bytes:
        """The file with these choices made."""
        size = self.sizes[digits[0]]
        data = bytearray(self._durable.ljust(size, b"\0"))
        chosen = list(zip(self.versions.items(), digits[1:], strict=True))
        for (sector, contents), digit in chosen:
            at = sector * SECTOR
            if at < len(data):
                data[at : at + SECTOR] = contents[digit][: len(data) - at]
        if tear is not None and (later := [item for item in chosen if item[1]]):
            (sector, contents), digit = later[tear(len(later))]
            at, cut = sector * SECTOR, tear(SECTOR)
            if at < len(data):
                torn = contents[digit][:cut] + contents[digit - 1][cut:]
                data[at : at + SECTOR] = torn[: len(data) - at]
        return bytes(data[:size])

    def _own(self) -> bytearray:
        if self._cache is None:
            self._cache = bytearray(self._durable)
        return self._cache


def _sector(data: bytes | bytearray, at: int) -> bytes:
    return bytes(data[at : at + SECTOR]).ljust(SECTOR, b"\0")
