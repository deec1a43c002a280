"""One file a family, which needs torch and transformers: small networks, inputs, losses.

Each has CASES, name -> a `Case`; the name is the architecture, or begins with it and a dash.
"""
