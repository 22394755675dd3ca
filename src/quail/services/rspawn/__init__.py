"""rspawn: takes mail to other hosts, in one process with thousands of clients (qmail-rspawn(8); DESIGN.md, Processes)."""
