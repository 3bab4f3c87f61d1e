"""Where a network looks: feature maps, gates, regions, beside their controls. Imports evaluate and below."""
