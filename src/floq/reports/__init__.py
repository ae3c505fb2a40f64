"""Reports: pages that stand alone, and the kit that they are drawn with."""
