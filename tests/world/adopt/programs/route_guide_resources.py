"""Common resources used in the gRPC route guide example."""

import json
import os

import route_guide_pb2


def read_route_guide_database():
    """Reads the route guide database."""
    feature_list = []
    path = os.path.join(os.path.dirname(__file__), "route_guide_db.json")
    with open(path) as route_guide_db_file:
        for item in json.load(route_guide_db_file):
            feature = route_guide_pb2.Feature(
                name=item["name"],
                location=route_guide_pb2.Point(
                    latitude=item["location"]["latitude"],
                    longitude=item["location"]["longitude"],
                ),
            )
            feature_list.append(feature)
    return feature_list
