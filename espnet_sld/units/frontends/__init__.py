"""Front-ends: waveforms → frame features, behind one small protocol."""

from espnet_sld.units.frontends.base import FRONTENDS, FrontEnd, build_frontend, configured_frontend

__all__ = ["FRONTENDS", "FrontEnd", "build_frontend", "configured_frontend"]
