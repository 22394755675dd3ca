"""multilog: lines of standard input, selected by a script, to log directories that rotate themselves.

script.py reads the script, pattern.py and selection.py choose, splitter.py makes lines of what is read: they are pure.
directory.py keeps one log directory, processor.py runs its processor, sinks.py takes lines; logger.py drives them all.
"""
