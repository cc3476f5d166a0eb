"""The networks of the backbones, a file each, and the layers that they share."""
