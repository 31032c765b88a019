"""Words without a GPU: a small network that recognises materials and objects, run by ncnn."""
