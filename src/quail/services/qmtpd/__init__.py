"""The QMTP and QMQP services, which differ in little but their machines; and one connection of them on descriptors 0 and 1."""
