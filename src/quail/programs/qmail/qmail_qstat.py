"""usage: qmail-qstat

Print how many messages are in the queue. For root and the owner of the home. Exit 0, or 111 with the reason.
"""

from quail.programs.run import home, output, program
from quail.queue.operator_client import OperatorClient


@program("qmail-qstat", takes=0)
def main(_args: list[bytes]) -> int:
    status = OperatorClient(home()).ask({"do": "status"})
    # A message is preprocessed as soon as it is accepted: there is no todo.
    output(b"messages in queue: %d\nmessages in queue but not yet preprocessed: 0\n" % status["messages"])
    return 0


if __name__ == "__main__":
    main()
