"""The programs of dot-forward and fastforward."""
