"""The definitions: every operation in plain PyTorch, slow and obviously right. Each backend must equal these files.

``<stem>.py`` holds ``<stem>_reference`` with the signature of the operation ``wwae::<stem>``: tensors are ``(N, C, H, W)``,
sizes are ``(height, width)`` pairs.
"""
