"""The service kinds, one file each; found by `multid.kinds`."""
