"""The folders of a system home, with owner, group and mode: what quail init makes and quail serve looks at.

An owner that is not root's is set last, when all that root has to write into the folder is there.
"""

# Below the home ("" is the home itself), user, group, mode. Anybody may leave mail in the drop, and see nothing of others.
FOLDERS = (
    ("", "root", "qmail", 0o755),
    ("control", "root", "qmail", 0o755),
    ("users", "root", "qmail", 0o755),
    ("bin", "root", "qmail", 0o755),
    ("run", "root", "qmail", 0o755),
    ("alias", "alias", "qmail", 0o2755),
    ("queue", "qmailq", "qmail", 0o711),
    ("queue/journal", "qmailq", "qmail", 0o700),
    ("queue/mess", "qmailq", "qmail", 0o710),
    ("queue/damaged", "qmailq", "qmail", 0o700),
    ("queue/drop", "qmailq", "qmail", 0o3733),
)
