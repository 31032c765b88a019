"""The embedded networks in torch, with ncnn's weights."""
