"""Mail to other hosts: where a message goes, the attempts to get it there, and what is said of them afterwards."""
