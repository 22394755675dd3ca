"""What a launcher runs of a bundle before the modules in it: start(bundle). Compiled into each bundle (bundles.py).

It stands alone, and imports nothing that a bare interpreter has not loaded. For the same reason it puts a part of `os` in the
place of the whole, whose own start costs a per-message program as much as all modules of Quail: what the posix module has, and
the few names more that every program needs. Whoever asks for anything else gets the whole `os`, loaded at that moment.
"""

import gc
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType


def start(
    bundle: "tuple[CodeType, tuple[tuple[str, int, int], ...], tuple[tuple[str, str | None, str, CodeType], ...]]",
) -> None:
    """Load the modules, unless a source has changed since the bundle was made: none may be half there then."""
    _, sources, modules = bundle
    if not _are_current(sources):
        return
    gc.disable()
    kind, loaded = type(sys), sys.modules
    if "os" not in loaded:
        part = loaded["os"] = _part_of_os()
        # For `import os.path`, which asks the part for nothing.
        later = loaded["os.path"] = kind("os.path")
        later.__dict__["__getattr__"] = lambda name: getattr(None if name[:2] == "__" else part.path, name)
    for name, folder, path, code in modules:
        module = loaded[name] = kind(name)
        parent, _, child = name.rpartition(".")
        module.__file__ = path
        module.__package__ = parent
        if folder:
            module.__path__ = [folder]
            module.__package__ = name
        if parent:
            setattr(loaded[parent], child, module)
        exec(code, module.__dict__)  # noqa: S102  our own code, of our own folder
    gc.freeze()
    gc.enable()


def _are_current(sources: tuple[tuple[str, int, int], ...]) -> bool:
    try:
        for path, when, size in sources:
            now = posix.stat(path)
            if now.st_mtime_ns != when or now.st_size != size:
                return False
    except OSError:
        return False
    return True


def _part_of_os() -> "ModuleType":
    part = type(sys)("os")
    names = part.__dict__
    names.update({name: value for name, value in posix.__dict__.items() if name[:2] != "__" and name != "environ"})
    encoding, errors = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
    environ = posix.environ  # bytes; os.environb and os.environ of the whole are views of it
    given = dict(environ)

    def fsencode(name: str | bytes) -> bytes:
        return name.encode(encoding, errors) if isinstance(name, str) else name

    def fsdecode(name: str | bytes) -> str:
        return name.decode(encoding, errors) if isinstance(name, bytes) else name

    def whole(name: str) -> object:
        """An attribute that the part has not (PEP 562). Special names are asked for by the import system alone."""
        if name[:2] == "__":
            raise AttributeError(name)
        if sys.modules.get("os") is part:
            del sys.modules["os"]
            import os  # noqa: F401, PLC0415  it is asked for now; its place is in sys.modules

            # What has been changed meanwhile is not in the process's own environment yet, which children get by default.
            for variable in given.keys() - environ.keys():
                posix.unsetenv(variable)
            for variable, value in environ.items():
                if given.get(variable) != value:
                    posix.putenv(variable, value)
            del names["environb"]
        return getattr(sys.modules["os"], name)

    names.update(
        environb=environ, fsencode=fsencode, fsdecode=fsdecode, SEEK_SET=0, SEEK_CUR=1, SEEK_END=2, __getattr__=whole
    )
    return part
