"""A cluster of Ray that begins without a core, for the fake autoscaler, and a run on it."""

CLUSTER = {
    "cluster_name": "growing",
    "max_workers": 2,
    "idle_timeout_minutes": 9,
    "upscaling_speed": 1.0,
    "provider": {
        "type": "fake_multinode",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    **{name: {} for name in ("auth", "docker", "file_mounts")},
    **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
    **{name: [] for name in ("initialization_commands", "setup_commands")},
    **{f"{kind}_setup_commands": [] for kind in ("head", "worker")},
    **{f"{kind}_start_ray_commands": [] for kind in ("head", "worker")},
    "file_mounts_sync_continuously": False,
    "head_node_type": "ray.head.default",
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "cores": {
            "resources": {"CPU": 1, "object_store_memory": 80 << 20},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 2,
        },
    },
}
RUN = """
ip link set lo up
mkdir -p /tmp/ray
mount -t tmpfs tmpfs /tmp/ray
RAY_FAKE_CLUSTER=1 AUTOSCALER_UPDATE_INTERVAL_S=1 "$0" -m ray.scripts.scripts start --head \
    --num-cpus 0 --object-store-memory 80000000 --include-dashboard false \
    --autoscaling-config growing.yaml >/dev/null
"$0" -c "
import sys
import time
import ray
import galmorph.ray
from galmorph.cli.main import cli
class Slow(galmorph.ray.Worker):
    def make(self, part):
        end = time.monotonic() + 60
        while ray.cluster_resources().get('CPU') != 2 and time.monotonic() < end:
            time.sleep(0.2)
        return super().make(part)
galmorph.ray.Worker = Slow
galmorph.ray.PART_ROWS['cpu'] = int(sys.argv.pop(1))
cli(standalone_mode=False)
ray.init('auto', log_to_driver=False)
print('cores:', ray.cluster_resources()['CPU'])
" "$@"
"""
