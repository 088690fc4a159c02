"""node_exporter: in each lane the machine that the lane believes to stand on; without lanes the real machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.errors import StackError
from harness.model.stack import Difference
from harness.stack import host, own_disk
from harness.stack.command import Command
from harness.stack.host import NODE_EXPORTER
from harness.stack.probe import expect_ok
from harness.stack.runtimes import Launch
from harness.stack.site import Site

_LANES_OWN = "simulated: every lane runs on one machine, whose own figures would be every lane's"
_SIMULATED = {
    "/proc/stat": "CPU times that advance by what the lane shows",
    "/proc/meminfo": "an amount of memory, used as the lane shows",
    "/proc/net/dev": "one network card that receives what the lane shows",
}


class NodeExporter:
    """The exporter of a machine. In a lane we show it CPU, memory and network, and the disk is the lane's own.

    Without lanes (`per_lane: false`) it shows the real machine. The disk needs a namespace that is made on the way to
    the program, so in a lane it runs as a process of this machine, not in a container.
    """

    kind = NODE_EXPORTER
    artifact = "node-exporter"
    needs: tuple[str, ...] = ()
    relayed = False

    def credentials(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def prepare(self, site: Site) -> None:
        """In a lane: makes the folder that stands for /proc, and the place of the small file system.

        Raises:
            StackError: they cannot be written.
        """
        if site.lane is None:
            return
        try:
            await host.prepare(site.data)
        except OSError as error:
            raise StackError(
                f"The machine of lane {site.lane} cannot be made at {site.data}", seen=str(error)
            ) from error

    def launch(self, site: Site) -> Launch:
        """The unit's exporter; in a lane it looks at the lane's own figures and file system."""
        command = Command(site, "node_exporter")
        command.put("--web.listen-address", str(site.address), "a free port of loopback")
        command.drop("--web.config.file", why="nothing but loopback is served")
        command.drop("--web.systemd-socket", why="there is no socket unit here")
        if site.lane is None:
            return command.launch()
        command.put("--path.procfs", str(host.proc_of(site.data)), _LANES_OWN)
        command.drop("--collector.netdev.netlink", why="netlink would ask the kernel past --path.procfs")
        command.default("--no-collector.netdev.netlink", None, "netlink would ask the kernel past --path.procfs")
        disk = host.disk_of(site.data)
        if not disk.is_dir():
            return _told(command.launch(), site, "none: namespaces are closed here, so a lane has no file system")
        command.put("--path.rootfs", str(disk), "the lane's own file system stands for the machine's")
        launch = command.launch()
        mebibytes = own_disk.SIZE_BYTES // 2**20
        return _told(
            replace(launch, argv=own_disk.inside(disk, launch.argv)),
            site,
            f"one small file system at /, listed as ext4: a real tmpfs of {mebibytes} MiB, only its entry is made",
        )

    async def ready(self, site: Site) -> str | None:
        """Its front page."""
        # Its front page: a whole exposition costs a scrape's time and says no more about being ready.
        return await expect_ok(site.address, "/")


def _told(launch: Launch, site: Site, mounts: str) -> Launch:
    """The launch with a difference for each figure that is not the machine's own."""
    file = site.component.unit.file if site.component.unit else site.component.span.file
    made = {**_SIMULATED, "/proc/1/mounts": mounts}
    differences = (Difference(file, path, "the machine's own", what, _LANES_OWN) for path, what in made.items())
    return replace(launch, differences=(*launch.differences, *differences))
