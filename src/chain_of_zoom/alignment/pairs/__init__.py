"""Views and their zooms that a prompter learns from: cut from photos, stored in a folder, and read again."""
