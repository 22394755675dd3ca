"""QMQP, both sides of it (https://cr.yp.to/proto/qmqp.html): bytes in, events and bytes out."""
