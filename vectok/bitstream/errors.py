"""What a .vtok file is refused with."""


class VtokError(ValueError):
    """A .vtok file that cannot be used: says what was expected, what was found, and what to do."""
