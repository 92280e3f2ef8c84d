"""Training of the networks in :mod:`wwae.models`."""

from wwae.training.checkpoints import CheckpointError
from wwae.training.configuration import ConfigurationError, TrainingConfiguration
from wwae.training.dataset import ImageSet, Split, StagedData, TrainingData, derive_seed
from wwae.training.engine import train
from wwae.training.evaluation import classification_error, reconstruct, reconstruction_l2
from wwae.training.figures import reconstruction_gallery
from wwae.training.fit import TrainingDiverged
from wwae.training.gallery import psnr, reconstruct_with_switches, switch_gallery
from wwae.training.inversion import InversionData, Inversions, train_inversion
from wwae.training.inversion_configuration import InversionConfiguration, PictureConfiguration
from wwae.training.networks import load_model
from wwae.training.reconstruction_loss import ReconstructionLoss
from wwae.training.run_directory import RunDirectory, RunDirectoryError
from wwae.training.stage_runner import TrainingStopped
from wwae.training.staged import train_in_stages
from wwae.training.staged_configuration import StagedConfiguration

__all__ = [
    "CheckpointError",
    "ConfigurationError",
    "ImageSet",
    "InversionConfiguration",
    "InversionData",
    "Inversions",
    "PictureConfiguration",
    "ReconstructionLoss",
    "RunDirectory",
    "RunDirectoryError",
    "Split",
    "StagedConfiguration",
    "StagedData",
    "TrainingConfiguration",
    "TrainingData",
    "TrainingDiverged",
    "TrainingStopped",
    "classification_error",
    "derive_seed",
    "load_model",
    "psnr",
    "reconstruct",
    "reconstruct_with_switches",
    "reconstruction_gallery",
    "reconstruction_l2",
    "switch_gallery",
    "train",
    "train_in_stages",
    "train_inversion",
]
