"""An S3 server in memory, for tests: prints its port, then answers one request at a time until it is killed.

One at a time, because moto looks whether there is an object of that name and stores it in two steps: with
threads, two conditional puts could both win.
"""

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    def log_request(self, *_):
        pass


app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
