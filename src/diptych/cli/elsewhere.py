"""The options of other programs, and what to type here instead.

This file is read when an option is unknown, so it imports nothing heavy.
"""

JUNYANZ = "junyanz/pytorch-CycleGAN-and-pix2pix"
AFFINELAYER = "affinelayer/pix2pix-tensorflow"

OPTIONS_OF_JUNYANZ = {
    "dataroot": "--data DIR",
    "name": "--out RUN, the folder of the run",
    "checkpoints_dir": "--out RUN, the folder of the run",
    "model": "the method, right after train: diptych train cyclegan|pix2pix|colorize",
    "input_nc": "--channels-a (with --direction BtoA: --channels-b)",
    "output_nc": "--channels-b (with --direction BtoA: --channels-a)",
    "ngf": "--method.width, the same for generators and discriminators",
    "ndf": "--method.width, the same for generators and discriminators",
    "netG": "--method.generator unet|resnet6|resnet9; the depth of the U-Net follows from --size",
    "netD": "--method.patch: 70 is basic, 1 is pixel, 16 and 286 are n_layers of 1 and 5",
    "n_layers_D": "--method.patch: 16, 70 and 286 are 1, 3 and 5 layers",
    "norm": "--method.norm batch|instance|none",
    "init_type": "--init-type normal|xavier|kaiming|orthogonal",
    "init_gain": "nothing: it is 0.02, their default",
    "no_dropout": "--method.dropout false",
    "dataset_mode": "nothing: Diptych detects what is in the folder; see `diptych data inspect DIR`",
    "direction": "--direction AtoB|BtoA",
    "serial_batches": "nothing: the order is a function of --seed",
    "num_threads": "--workers",
    "batch_size": "--batch-size",
    "load_size": "--load-scale, as a multiple of --size: 286 for 256 is 1.1171875, the default",
    "crop_size": "--size",
    "max_dataset_size": "nothing: give a folder with fewer pictures",
    "preprocess": "--fit: resize_and_crop is stretch, crop none, scale_width_and_crop scale-width; any size is translated",
    "no_flip": "--flip false",
    "display_winsize": "nothing: previews are in RUN/samples, and `diptych report RUN` draws a page",
    "display_id": "nothing: previews are in RUN/samples, and `diptych report RUN` draws a page",
    "display_freq": "--sample-every STEPS",
    "update_html_freq": "--sample-every STEPS, and `diptych report RUN`",
    "print_freq": "--log-every STEPS",
    "no_html": "nothing: only `diptych report RUN` draws a page",
    "epoch": "the folder of a model: RUN is the last one, RUN/model-best the best",
    "load_iter": "the folder of a model: RUN is the last one, RUN/model-best the best",
    "verbose": "--dry-run, which prints every setting",
    "suffix": "--out RUN, the folder of the run",
    "use_wandb": "nothing: RUN/log.jsonl has the numbers, and docs/training.md says how W&B takes them",
    "wandb_project_name": "nothing: RUN/log.jsonl has the numbers, and docs/training.md says how W&B takes them",
    "save_latest_freq": "--checkpoint-every STEPS",
    "save_epoch_freq": "--checkpoint-every STEPS",
    "save_by_iter": "nothing: all intervals are in steps",
    "continue_train": "diptych train --continue RUN; so does the same command again",
    "epoch_count": "nothing: a run goes on at the step of its last checkpoint",
    "phase": "nothing: train and evaluate know the folders train, val and test",
    "n_epochs": "--epochs N+M --decay-start N/(N+M), with n_epochs N and n_epochs_decay M",
    "n_epochs_decay": "--epochs N+M --decay-start N/(N+M), with n_epochs N and n_epochs_decay M",
    "niter": "--epochs N+M --decay-start N/(N+M), with niter N and niter_decay M",
    "niter_decay": "--epochs N+M --decay-start N/(N+M), with niter N and niter_decay M",
    "gan_mode": "--method.adversarial vanilla|lsgan|hinge; wgangp is not here",
    "pool_size": "--method.pool-size",
    "lr_policy": "--lr-policy linear|cosine|step|constant, after --decay-start; plateau is not here",
    "lr_decay_iters": "--lr-policy step --decay-start SHARE: a tenth after each such share of the run",
    "lambda_A": "--method.lambda-cycle, the same for both directions",
    "lambda_B": "--method.lambda-cycle, the same for both directions",
    "lambda_identity": "--method.lambda-identity",
    "lambda_L1": "--method.lambda-l1",
    "gpu_ids": "--device cuda:1|cpu; several GPUs by --processes N",
    "results_dir": "diptych translate RUN DIR --out RESULTS, or diptych evaluate RUN --data DIR, which keeps them in RUN",
    "aspect_ratio": "nothing: a picture comes back at its own size",
    "num_test": "nothing: all pictures are translated",
    "eval": "--method.statistics running in training; `diptych import --statistics running` for its weights",
}
"""Without their dashes."""

OPTIONS_OF_AFFINELAYER = {
    "mode": "diptych train pix2pix, diptych evaluate, diptych translate",
    "input_dir": "--data DIR",
    "output_dir": "--out RUN",
    "checkpoint": "diptych train --continue RUN, or diptych translate RUN",
    "max_steps": "--steps",
    "max_epochs": "--epochs",
    "which_direction": "--direction AtoB|BtoA",
    "scale_size": "--size, and --load-scale as a multiple of it",
    "l1_weight": "--method.lambda-l1",
    "gan_weight": "--method.lambda-l1, the weight of the pixel loss; that of the GAN loss is 1",
    "separable_conv": "nothing: there are no separable convolutions here",
    "lab_colorization": "diptych train colorize",
    "summary_freq": "--log-every STEPS",
    "progress_freq": "--log-every STEPS",
    "save_freq": "--checkpoint-every STEPS",
    "trace_freq": "nothing: torch.profiler traces any Python program",
}

OPTIONS_OF_OTHERS = {
    "pretrained_name": "--init RUN|MODEL",
    "pretrained": "--init RUN|MODEL",
    "weights": "--init RUN|MODEL",
    "finetune": "--init RUN|MODEL",
    "learning_rate": "--lr",
    "resume": "diptych train --continue RUN",
    "resume_from": "diptych train --continue RUN",
    "resume_from_checkpoint": "diptych train --continue RUN",
    "num_workers": "--workers",
    "num_epochs": "--epochs",
    "image_size": "--size",
    "img_size": "--size",
    "amp": "--precision bf16",
    "fp16": "--precision bf16",
}
"""As many other programs call them."""


def remedy(option: str) -> str:
    """What to type instead of an option of another program; empty for an option that none of these programs has.

    >>> remedy("--lambda_L1")
    'junyanz/pytorch-CycleGAN-and-pix2pix calls it so; here it is --method.lambda-l1'
    >>> remedy("--lambda-l2")
    ''
    """
    name = option.lstrip("-").partition("=")[0].replace("-", "_")
    for program, options in ((JUNYANZ, OPTIONS_OF_JUNYANZ), (AFFINELAYER, OPTIONS_OF_AFFINELAYER)):
        if name in options:
            ours, here = options[name], "here it is"
            if ours.startswith("nothing"):
                ours, here = ours.removeprefix("nothing").removeprefix(": "), "here is none:"
            return f"{program} calls it so; {here} {ours}"
    return f"Other programs call it so; here it is {OPTIONS_OF_OTHERS[name]}" if name in OPTIONS_OF_OTHERS else ""
