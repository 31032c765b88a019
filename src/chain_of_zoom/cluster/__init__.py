"""The machines of a Ray cluster: joining it, comparing its nodes, and chains that work on them."""
