"""What the services have in common that take connections from the network (smtpd, qmtpd, qmqpd, popd)."""
