"""The stages: where files and models meet. `places` says what lies where; each other module is one stage, a function
from clip to artefact mapped over the clips. `stages/` holds their command lines and `dvc.yaml` their order."""
