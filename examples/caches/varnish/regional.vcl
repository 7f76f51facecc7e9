# Varnish of the region, the parent of all edges: asks the origin.
vcl 4.1;

backend origin {
  .host = "127.0.0.1";
  .port = "9301";
}

include "./cache.vcl";
