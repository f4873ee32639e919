default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmspike'], allow_failed_imports=False)

default_hooks = dict(
    # Leaves cores to other programs on machines without a GPU.
    threads=dict(type='mmspike.CpuThreadsHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='mmspike.MainRankLoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Protects files from killed runs, and keeps the best checkpoint.
    checkpoint=dict(
        type='mmspike.AtomicCheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'
    ),
    # Names the file of a sample that cannot be read.
    file_name=dict(type='mmspike.FileNameHook'),
    # Ends training at the first loss that is NaN or infinite, and names the layer.
    finite_loss=dict(type='mmspike.FiniteLossHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Applies `timesteps` and `D` of the top level everywhere, and reports settings without effect.
    settings=dict(type='mmspike.SettingsHook'),
    # Data and model have the same classes; every label is one of them.
    class_check=dict(type='mmspike.ClassCheckHook'),
    visualization=dict(type='VisualizationHook', enable=False),
)
# A resumed run draws the random numbers of an uninterrupted one.
custom_hooks = [dict(type='mmspike.ProgressSeedHook')]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
randomness = dict(seed=0, deterministic=False)
log_level = 'INFO'
load_from = None
resume = False
