"""QMTP: requests and replies as bytes. Nothing here opens, waits or reads a clock."""
