"""The method: scale autoregression over objects it is given. No torch, no names, no concrete backbone."""
