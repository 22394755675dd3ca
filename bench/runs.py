"""What a run of the bench gives: a line of figures."""

from typing import NamedTuple


class Run(NamedTuple):
    """One measured run: which table, which peer, and what came out (seconds; processor seconds of the server)."""

    table: str
    peer: str
    messages: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_per_thousand(self) -> float:
        return 1000 * self.cpu / self.messages

    @property
    def burden(self) -> float:
        """What one message costs: the less, the better."""
        return self.seconds / self.messages

    def __str__(self) -> str:
        return f"{self.rate:8.0f}/s  {self.cpu_per_thousand:6.2f} CPU-s per 1,000"


class CallRun(NamedTuple):
    """Calls of a program: `seconds` for all; milliseconds of one: its time (median, 95th percentile), processor time."""

    table: str
    peer: str
    calls: int
    seconds: float
    median: float
    slow: float
    cpu: float  # of the call's own processes
    servers: float  # of the servers, until everything was delivered

    @property
    def cpu_per_thousand(self) -> float:
        """A thousand calls' seconds are one call's milliseconds."""
        return self.cpu + self.servers

    @property
    def burden(self) -> float:
        return self.median

    def __str__(self) -> str:
        return f"{self.median:8.1f} ms  {self.cpu:6.1f} CPU-ms and {self.servers:.1f} of the servers"


class Weight(NamedTuple):
    """Memory (PSS, bytes) of a peer with so many idle connections, and of the same one before there were any."""

    table: str
    peer: str
    connections: int
    total: int
    empty: int

    @property
    def burden(self) -> float:
        """Bytes of the whole when it is idle, else of a connection (of a few, other changes may have eaten it up)."""
        return max(1.0, self.each) if self.connections else self.total

    @property
    def each(self) -> float:
        return (self.total - self.empty) / self.connections if self.connections else 0.0

    def __str__(self) -> str:
        more = f", {self.connections} connections of {self.each / 1e3:.1f} KB" if self.connections else ""
        return f"{self.total / 1e6:8.1f} MB{more}"
