"""What a picture is: files, levels, geometry, colour, masks. Nothing of data sets."""
