"""One layer's tar stream placed into a folder (image-spec layer.md § Applying Changesets).

Foreign layers: a whiteout ``.wh.x`` becomes what overlayfs understands (a character device 0:0), an opaque
mark the attribute ``user.overlay.opaque`` (image-spec layer.md § Whiteouts; kernel overlayfs.rst). A whiteout
hides lower layers only, never its own; of two entries with one name the last wins (THREATS L08). Device
nodes, set-id bits and extended attributes are dropped (L10): nothing of them is of use in the sandbox.
"""

from __future__ import annotations

import errno
import os
import stat

from trainload.errors import LayerError, Place, Text, printable
from trainload.events import Moved, Reporter
from trainload.layers.tarread import Member, MemberKind, TarReader, member_path
from trainload.limits import Limits
from trainload.run.inflate import TarStream
from trainload.run.rootdir import RootDir, open_in_root
from trainload.values import dataclass, field

_REPORT_EVERY = 8 << 20
_WHITEOUT, _OPAQUE, _AUFS = b".wh.", b".wh..wh..opq", b".wh..wh."
_OPAQUE_ATTRIBUTE = "user.overlay.opaque"
_READ = 1 << 20
_HOSTILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EEXIST, errno.EISDIR}
"""What only a layer's own names can bring about."""


@dataclass(slots=True)
class Notes:
    """What is found on the way and applied when everything is there."""

    folders: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    """path → (mode, mtime)"""
    whiteouts: set[bytes] = field(default_factory=set)
    opaque: set[bytes] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)

    def forget(self, path: bytes) -> None:
        """``path`` was a folder and is none any more."""
        gone = [known for known in self.folders if known == path or known.startswith(path + b"/")]
        for known in gone:
            del self.folders[known]
            self.opaque.discard(known)


class Placing:
    """One layer on its way from a tar stream into a folder."""

    def __init__(self, root: RootDir, stream: TarStream, name: str, limits: Limits) -> None:
        self._root, self._stream, self._name, self._limits = root, stream, name, limits
        self._notes = Notes()
        self._owner = os.geteuid() == 0
        self._own = (os.geteuid(), os.getegid())

    def run(self, task: str, reporter: Reporter) -> Notes:
        reader = TarReader(self._stream, self._name, limits=self._limits, end_mark=False)
        reported = 0
        for member in reader:
            path = member_path(member.name, self._name, limits=self._limits)
            try:
                self._place(member, path, reader)
            except LayerError as error:
                raise self._refused(error, member) from error
            except OSError as error:
                if error.errno in _HOSTILE:
                    raise self._refuse(
                        "a member cannot be placed: {reason}", member, reason=error.strerror
                    ) from error
                raise
            if self._stream.size - reported > _REPORT_EVERY:
                reported = self._stream.size
                reporter.report(Moved(task, reported))
        self._finish()
        return self._notes

    def _place(self, member: Member, path: bytes, reader: TarReader) -> None:
        above, _, name = path.rpartition(b"/")
        if above.startswith(_WHITEOUT) or b"/" + _WHITEOUT in above:
            raise self._refuse("a whiteout has something in it", member)
        if name.startswith(_WHITEOUT):
            self._whiteout(path, name, member)
        elif member.kind is MemberKind.DIRECTORY:
            self._folder(member, path)
        elif not path:
            raise self._refuse("the root is not a folder", member)
        elif member.kind in (MemberKind.CHARACTER, MemberKind.BLOCK):
            self._notes.dropped.add("device")
        else:
            folder, name = self._root.parent(path)
            try:
                self._leaf(member, folder, name, reader)
            except FileExistsError:
                self._root.clear(folder, name)
                self._notes.forget(path)
                self._leaf(member, folder, name, reader)
        if member.xattrs:
            self._notes.dropped.add("attribute")

    def _leaf(self, member: Member, folder: int, name: bytes, reader: TarReader) -> None:
        match member.kind:
            case MemberKind.FILE:
                self._file(member, folder, name, reader)
            case MemberKind.SYMLINK:
                os.symlink(member.linkname, name, dir_fd=folder)
                self._own_link(member, folder, name)
            case MemberKind.HARDLINK:
                self._hardlink(member, folder, name)
            case _:
                os.mkfifo(name, self._mode(member), dir_fd=folder)
                self._own_link(member, folder, name)

    def _file(self, member: Member, folder: int, name: bytes, reader: TarReader) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            while data := reader.read(_READ):
                written = os.write(file, data)
                while written < len(data):
                    written += os.write(file, data[written:])
            if self._owner and (member.uid, member.gid) != self._own:
                os.fchown(file, member.uid, member.gid)
            os.fchmod(file, self._mode(member))
            os.utime(file, ns=(member.mtime * 10**9,) * 2)
        finally:
            os.close(file)

    def _mode(self, member: Member) -> int:
        """Without set-id bits; an ordinary user can at least read what is theirs."""
        if member.mode & (stat.S_ISUID | stat.S_ISGID) and member.kind is not MemberKind.DIRECTORY:
            self._notes.dropped.add("set-id")
        mode = member.mode & 0o1777
        return mode if self._owner else mode | 0o400

    def _own_link(self, member: Member, folder: int, name: bytes) -> None:
        if self._owner and (member.uid, member.gid) != self._own:
            os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        os.utime(name, ns=(member.mtime * 10**9,) * 2, dir_fd=folder, follow_symlinks=False)

    def _hardlink(self, member: Member, folder: int, name: bytes) -> None:
        target = member_path(member.linkname.lstrip(b"/"), self._name, limits=self._limits)
        try:
            there, old = self._root.existing_parent(target)
        except OSError as error:
            raise self._refuse("a hard link leads to a file that is not in its layer", member) from error
        try:
            if stat.S_ISDIR(os.lstat(old, dir_fd=there).st_mode):
                raise self._refuse("a hard link leads to a folder", member)
            os.link(old, name, src_dir_fd=there, dst_dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError as error:
            raise self._refuse("a hard link leads to a file that is not in its layer", member) from error
        finally:
            os.close(there)

    def _folder(self, member: Member, path: bytes) -> None:
        if path:
            folder, name = self._root.parent(path)
            if not self._root.clear(folder, name, keep_folder=True):
                os.mkdir(name, 0o700, dir_fd=folder)
            if self._owner:
                os.chown(name, member.uid, member.gid, dir_fd=folder, follow_symlinks=False)
        elif self._owner:
            os.fchown(self._root.fd, member.uid, member.gid)
        self._root.implicit.discard(path)
        mode = member.mode if self._owner else member.mode & 0o1777 | 0o700
        self._notes.folders[path] = mode, member.mtime

    def _whiteout(self, path: bytes, name: bytes, member: Member) -> None:
        above = path[: len(path) - len(name)]
        hidden = name.removeprefix(_WHITEOUT)
        if name == _OPAQUE:
            self._notes.opaque.add(above.rstrip(b"/"))
        elif name.startswith(_AUFS):
            return  # aufs' own book-keeping (moby: WhiteoutMetaPrefix)
        elif hidden in (b"", b".", b".."):
            raise self._refuse("a whiteout hides no name", member)
        else:
            self._notes.whiteouts.add(above + hidden)

    def _finish(self) -> None:
        for path in sorted(self._notes.whiteouts):
            self._hide(path)
        for path in self._notes.opaque:
            folder, _ = self._root.parent(path + b"/.")
            os.setxattr(folder, _OPAQUE_ATTRIBUTE, b"y")
        self._root.forget()
        for path, (mode, mtime) in sorted(self._notes.folders.items(), reverse=True):
            folder = open_in_root(self._root.fd, path)
            try:
                os.fchmod(folder, mode)
                os.utime(folder, ns=(mtime * 10**9,) * 2)
            finally:
                os.close(folder)

    def _hide(self, path: bytes) -> None:
        """A whiteout, unless the layer itself has something there (a folder then hides the lower one's content)."""
        folder, name = self._root.parent(path)
        try:
            mode = os.lstat(name, dir_fd=folder).st_mode
        except FileNotFoundError:
            os.mknod(name, stat.S_IFCHR | 0o600, os.makedev(0, 0), dir_fd=folder)
            return
        if stat.S_ISDIR(mode):
            self._notes.opaque.add(path)

    def _refuse(self, template: str, member: Member, **values: object) -> LayerError:
        inside = printable(member.name)
        if member.linkname:
            inside += f" -> {printable(member.linkname)}"
        return LayerError(Text(template, **values), place=Place(self._name, inside))

    def _refused(self, error: LayerError, member: Member) -> LayerError:
        if error.place is not None:
            return error
        return LayerError(error.text, place=Place(self._name, printable(member.name)), hints=error.hints)
