"""The SMTP service: several processes on one inherited socket, each with thousands of sessions in one event loop."""
