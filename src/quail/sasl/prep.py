"""SASLprep (RFC 4013): the one form of a password that people type in many; a profile of stringprep (RFC 3454).

Passwords are compared in this form, so that an é typed as one character or as two is the same. ASCII is its own form.
"""


def prepare(text: str, *, stored: bool) -> str:
    """The prepared form; ValueError, with what is wrong, if there is none.

    stored: of a password that is kept. In one that somebody logs in with, characters are allowed that Unicode 3.2 did not
    know.
    """
    if text.isascii():
        if not text.isprintable():
            raise ValueError("it has a control character")
        return text
    import stringprep  # noqa: PLC0415  few passwords need its tables
    import unicodedata  # noqa: PLC0415

    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    prohibited = (
        (stringprep.in_table_c12, "a strange blank"),
        (stringprep.in_table_c21_c22, "a control character"),
        (stringprep.in_table_c3, "a character for private use"),
        (stringprep.in_table_c4, "a code point that is no character"),
        (stringprep.in_table_c5, "half of a surrogate pair"),
        (stringprep.in_table_c6, "a character that stands for none"),
        (stringprep.in_table_c7, "a character that describes others"),
        (stringprep.in_table_c8, "a character that changes how others are shown"),
        (stringprep.in_table_c9, "a tag"),
        *([(stringprep.in_table_a1, "a character that is newer than the rules")] if stored else []),
    )
    for table, what in prohibited:
        if any(map(table, prepared)):
            raise ValueError(f"it has {what}")
    if any(map(stringprep.in_table_d1, prepared)):  # RFC 3454 s6: words from right to left
        if any(map(stringprep.in_table_d2, prepared)):
            raise ValueError("it mixes letters that are written from left to right and from right to left")
        if not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])):
            raise ValueError("letters written from right to left must begin and end it")
    return prepared
