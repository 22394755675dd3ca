"""The commands of qmail, one file each."""
