"""Flash, trailers and MCUboot of the virtual board."""
