import shutil

import flask

print(flask.__file__, flask.__version__, shutil.which("flask"))
