"""The networks themselves, in torch. Needs the extra [diffusion]; stlpips the extra [eval-torch]."""
