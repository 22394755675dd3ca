"""The machine's apt, read without changing the machine: private lists and caches, Debian's own mirror, proxy and certificates.

Everything about where packages come from is asked of apt at run time. No root needed, nothing is installed.
"""

import os
import shlex
import subprocess

RELEASE = "bookworm"


class AptError(Exception):
    """This machine's apt cannot give what the test root is made of; the text says what is missing."""


class PrivateApt:
    """An apt whose state and cache lie in one folder that the caller removes."""

    def __init__(self, folder: str) -> None:
        """`folder` exists and is empty; package lists (about 10 MB) are read into it now."""
        self.folder = folder
        for part in ("state/lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(folder, part))
        self._options = [
            "-oDir::State=" + os.path.join(folder, "state"),
            "-oDir::State::status=/var/lib/dpkg/status",
            "-oDir::Cache=" + os.path.join(folder, "cache"),
            "-oAPT::Sandbox::User=",
            "-oAPT::Update::Post-Invoke-Success=",
            "-oAPT::Update::Post-Invoke=",
        ]
        # A third-party source that does not answer is no trouble of ours: what matters is asked below.
        subprocess.run(["apt-get", *self._options, "-qq", "update"], check=False, capture_output=True)

    def _ask(self, *words: str) -> str:
        try:
            done = subprocess.run(
                ["apt-get", *self._options, *words], check=True, capture_output=True, text=True, cwd=self.folder
            )
        except FileNotFoundError:
            raise AptError("this machine has no apt-get") from None
        except subprocess.CalledProcessError as error:
            raise AptError(f"apt-get {words[0]}: {error.stderr.strip()[-500:]}") from None
        return done.stdout

    def mirror(self) -> str:
        """Base address of Debian's main archive for RELEASE, as this machine's apt is told to use it."""
        form = "$(CREATED_BY) $(CODENAME) $(COMPONENT) $(LABEL) $(REPO_URI)"
        for line in self._ask("indextargets", "--format", form).splitlines():
            kind, codename, component, label, *address = line.split(" ")
            if (kind, codename, component, label) == ("Packages", RELEASE, "main", "Debian") and address:
                return address[0]
        raise AptError(f"apt on this machine has no reachable source of Debian {RELEASE} main")

    def unpack(self, package: str, into: str) -> None:
        """Fetch a package, verified by apt, and unpack it below a folder; nothing of it is run or configured."""
        os.makedirs(into, exist_ok=True)  # dpkg makes only the last of its folders
        before = set(os.listdir(self.folder))
        self._ask("-qq", "download", package)
        (file,) = set(os.listdir(self.folder)) - before
        subprocess.run(["dpkg", "-x", os.path.join(self.folder, file), into], check=True, capture_output=True)


def _setting(name: str) -> str:
    text = subprocess.run(["apt-config", "shell", "VALUE", name], check=True, capture_output=True, text=True).stdout
    words = shlex.split(text)
    return words[0].removeprefix("VALUE=") if words else ""


def download_environment(folder: str) -> dict[str, str]:
    """Variables that make wget, which debootstrap calls, use apt's proxies and certificates."""
    environment = {}
    for scheme in ("http", "https"):
        proxy = _setting(f"Acquire::{scheme}::Proxy")
        if proxy and proxy != "DIRECT":
            environment[f"{scheme}_proxy"] = proxy
    lines = [
        f"{word} = {value}\n"
        for word, name in (("ca_certificate", "CaInfo"), ("certificate", "SslCert"), ("private_key", "SslKey"))
        if (value := _setting(f"Acquire::https::{name}"))
    ]
    if lines:
        environment["WGETRC"] = os.path.join(folder, "wgetrc")
        with open(environment["WGETRC"], "w", encoding="utf-8") as file:
            file.writelines(lines)
    return environment
