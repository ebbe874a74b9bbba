"""Labels for the pixels of pictures and the regions of graphs: `Segmenter` and what it is made of."""
