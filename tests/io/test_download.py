from __future__ import annotations

import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import tifffile

from aequorea.errors import FileFormatError, InputError, OutputError, RunError
from aequorea.io.download import cache_folder, cached_download
from aequorea.io.samples import make_sample_data_cbs006rbm, make_sample_data_coloc


@pytest.fixture
def server():
    """A local web server: files to serve, and how often each was asked for."""
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "file:///etc/hostname")
                self.end_headers()
                return
            content = files.get(self.path.removeprefix("/short"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            extra = 100 if self.path.startswith("/short") else 0
            self.send_header("Content-Length", str(len(content) + extra))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}", files, asked
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_it_is_fetched_once(server, tmp_path):
    url, files, asked = server
    files["/a.bin"] = b"content" * 50_000
    for _ in range(2):
        path = cached_download(f"{url}/a.bin", "a.bin", cache_dir=tmp_path / "deep" / "cache")
    assert path.read_bytes() == files["/a.bin"]
    assert asked == ["/a.bin"]
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_a_stale_copy_is_fetched_again_and_a_wrong_one_refused(server, tmp_path):
    url, files, _ = server
    files["/a.bin"] = b"new"
    (tmp_path / "a.bin").write_bytes(b"old")
    right = hashlib.sha256(b"new").hexdigest()
    path = cached_download(f"{url}/a.bin", "a.bin", sha256=right.upper(), cache_dir=tmp_path)
    assert path.read_bytes() == b"new"
    with pytest.raises(FileFormatError, match="SHA-256"):
        cached_download(f"{url}/a.bin", "b.bin", sha256="0" * 64, cache_dir=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("path", ["none.bin", "short/a.bin", "empty.bin", "moved", "a.bin"])
def test_failures_leave_nothing_behind(server, tmp_path, path):
    url, files, _ = server
    files.update({"/a.bin": b"0" * 1000, "/empty.bin": b""})
    with pytest.raises((RunError, FileFormatError), match=r"http://127\.0\.0\.1"):
        cached_download(f"{url}/{path}", "a.bin", cache_dir=tmp_path, max_bytes=999)
    assert not list(tmp_path.iterdir())


def test_no_server_is_a_failed_run(tmp_path):
    with pytest.raises(RunError, match="cannot be downloaded"):
        cached_download("http://127.0.0.1:9/a", "a", cache_dir=tmp_path, timeout_s=2)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a.b/c", "/etc/passwd", "", "data:,x"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(InputError, match="http"):
        cached_download(url, "a", cache_dir=tmp_path)


@pytest.mark.parametrize("name", ["../a", "/etc/a", "", ".", "..", ".hidden", "a/b", "a\\b"])
def test_names_with_paths_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="plain file name"):
        cached_download("http://127.0.0.1/a", name, cache_dir=tmp_path)


def test_a_cache_that_cannot_be_written(server, tmp_path):
    url, files, _ = server
    files["/a"] = b"x"
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError):
        cached_download(f"{url}/a", "a", cache_dir=tmp_path / "file")


def test_the_cache_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "aequorea"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().parts[-2:] == (".cache", "aequorea")


# samples --------------------------------------------------------------------------------------


def test_cbs006rbm(server, tmp_path):
    url, files, asked = server
    pixels = np.random.default_rng(0).integers(0, 255, (8, 9, 3), dtype="u1")
    tifffile.imwrite(tmp_path / "CBS006RBM.tiff", pixels)
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.write(tmp_path / "CBS006RBM.tiff", "CBS006RBM.tiff")
    files["/cbs006rbm.tiff.zip"] = (tmp_path / "z").read_bytes()
    for _ in range(2):
        red, blue = make_sample_data_cbs006rbm(base_url=url, cache_dir=tmp_path / "cache")
    np.testing.assert_allclose(red[0], pixels[..., 0] / 255, atol=1e-7)
    np.testing.assert_allclose(blue[0], pixels[..., 2] / 255, atol=1e-7)
    assert red[0].dtype == np.float32
    assert red[1] == {"name": "CBS006RBM_red", "colormap": "red"}
    assert blue[1] == {"name": "CBS006RBM_blue", "colormap": "blue", "blending": "additive"}
    assert red[2] == "image"
    assert len(asked) == 1


def test_coloc(server, tmp_path):
    url, files, _ = server
    pixels = np.random.default_rng(0).integers(0, 255, (5, 8, 9, 3), dtype="u1")
    tifffile.imwrite(tmp_path / "a.tif", pixels, imagej=True, metadata={"axes": "ZYXS"})
    files["/colocsample1bRGB_BG.tif"] = (tmp_path / "a.tif").read_bytes()
    red, green = make_sample_data_coloc(base_url=url, cache_dir=tmp_path)
    np.testing.assert_allclose(red[0], pixels[..., 0] / 255, atol=1e-7)
    np.testing.assert_allclose(green[0], pixels[..., 1] / 255, atol=1e-7)
    assert (red[1]["name"], green[1]["colormap"]) == ("coloc_red", "green")


def test_samples_that_are_something_else(server, tmp_path):
    url, files, _ = server
    files["/cbs006rbm.tiff.zip"] = b"<html>moved</html>"
    with pytest.raises(FileFormatError, match=r"no CBS006RBM\.tiff in it"):
        make_sample_data_cbs006rbm(base_url=url, cache_dir=tmp_path)
    tifffile.imwrite(tmp_path / "gray.tif", np.zeros((4, 4), "u1"))
    files["/colocsample1bRGB_BG.tif"] = (tmp_path / "gray.tif").read_bytes()
    with pytest.raises(FileFormatError, match="expected 8-bit RGB"):
        make_sample_data_coloc(base_url=url, cache_dir=tmp_path)
