"""Stage 2: exact bytes of everything that goes in. Pure models; asking uv or an archive is done by ``resolve``."""
