"""What tests and the bench use: TestRoot.get().enter(...) gives a box, with Quail's own code in it at /opt/quail.

with TestRoot.get().enter({str(tmp_path): "/srv"}) as box:
    box.run(["swaks", "--server", "127.0.0.1:25", ...])
    box.popen([*QUAIL, "serve", "--home", "/srv/home"], user=TESTER, env=QUAIL_ENVIRONMENT)
"""

import os
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from tests.root.box import Bind, Box
from tests.root.image import CHECKOUT, UID, GuestPackages, Image

TESTER = UID  # a user of the box with a home folder; its name is tester
QUAIL = ("python3", "-m", "quail.cli.main")
QUAIL_ENVIRONMENT = {"PYTHONPATH": "/opt/quail/src:/opt/quail/packages"}


class TestRoot:
    """This machine's test root, made at the first use (see image.py for what that needs)."""

    __test__ = False
    _only: ClassVar[Self | None] = None

    def __init__(self, image: Image, packages: GuestPackages) -> None:
        """Use get() instead: one process needs one."""
        self._image, self._packages = image, packages
        self._compile()

    def _compile(self) -> None:
        """Bytecode, by the root's own Python: in boxes the code is read-only, and every start would compile it anew."""
        folders = {CHECKOUT + "/src": "/opt/quail/src", self._packages.folder: "/opt/quail/packages"}
        binds = [Bind(host, guest, writable=True) for host, guest in folders.items()]
        with Box(self._image.root, self._image.stage, binds=binds) as box:
            # A file that can't be compiled is the trouble of whoever imports it.
            box.run(["python3", "-m", "compileall", "-q", *folders.values()], check=False)

    @classmethod
    def get(cls) -> Self:
        """The root; raises RootUnavailableError with a reason when this machine or user cannot have one."""
        if cls._only is None:
            cls._only = cls(Image(), GuestPackages())
        return cls._only

    def enter(
        self,
        binds: Mapping[str, str] | None = None,
        *,
        network: Literal["own", "host"] = "own",
        view: Literal["overlay", "copy"] = "overlay",
    ) -> Box:
        """A box for a `with` block. `binds` maps folders of the machine to writable ones of the box.

        What must be on a real disk (a queue, a Maildir) belongs in a bind: everything else of the box is memory.
        """
        quail = [Bind(CHECKOUT + "/src", "/opt/quail/src"), Bind(self._packages.folder, "/opt/quail/packages")]
        own = [Bind(os.path.abspath(host), guest, writable=True) for host, guest in (binds or {}).items()]
        return Box(self._image.root, self._image.stage, binds=[*quail, *own], network=network, view=view)
