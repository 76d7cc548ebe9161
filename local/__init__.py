"""The local stack: template.yaml deployed to a local AWS emulator, with Valkey and a stand-in model."""
